import { type Column, Table } from "../charts/figure.tsx";
import { Fold } from "../fold.tsx";
import { capital, count, counted, fixed, nats, percent, typeset } from "../format.ts";
import { Lead, Part } from "../section.tsx";
import { isolated, Plain, UserText } from "../text.tsx";
import type { AnsweredQuestion, ReplyStyle, Strategies as Found, Strategy } from "../trace.ts";

const REFERENCE = "held-out replies";

/** Four ways to a chatbot on the same held-out conversations: the conclusion, the losses, and all replies to the same questions. */
export function Strategies({ found }: { found: Found }) {
  return (
    <>
      <Lead>{typeset(found.conclusion)}</Lead>
      <Part title="Loss of the held-out replies" sentence={<Plain text={typeset([found.reason, found.budget, found.base, found.coverage].filter(Boolean).join(" "))} />}>
        <Losses found={found} />
        <ul>
          {found.verdicts.map((verdict) => (
            <li>
              <Plain text={typeset(verdict.sentence)} />
            </li>
          ))}
        </ul>
      </Part>
      <Part title="How they reply" sentence={found.notice ? typeset(found.notice) : undefined}>
        <Styles found={found} />
        {found.answers.map((answered) => (
          <Answer answered={answered} found={found} />
        ))}
      </Part>
    </>
  );
}

function Losses({ found }: { found: Found }) {
  const columns: Column<Strategy>[] = [{ name: "Strategy", value: (row) => capital(row.name) }];
  found.held_out.forEach((text, place) => {
    columns.push(
      { name: `Loss on ${isolated(text.name, 40)}`, value: (row) => nats(row.losses[place]?.loss ?? Number.NaN), isNumber: true },
      {
        name: `95 % interval, n = ${count(text.conversations)}`,
        value: ({ losses: { [place]: loss } }) => loss && `${nats(loss.low)} to ${nats(loss.high)}`,
        isNumber: true,
      },
    );
  });
  columns.push(
    { name: "Perplexity", value: (row) => fixed(row.losses[0]?.perplexity ?? Number.NaN, 1), isNumber: true },
    { name: "Minutes", value: (row) => fixed(row.minutes, 1), isNumber: true },
    { name: "Training", value: (row) => <Plain text={typeset(row.training)} /> },
  );
  return <Table caption="Loss of the held-out replies, in nats per token" columns={columns} rows={found.strategies} />;
}

function Styles({ found }: { found: Found }) {
  const rows: { name: string; style: ReplyStyle }[] = [...found.strategies, { name: REFERENCE, style: found.reference_style }].flatMap(
    ({ name, style }) => (style ? [{ name, style }] : []),
  );
  if (rows.length === 0) return null;
  return (
    <Table
      caption="How the strategies reply"
      rows={rows}
      columns={[
        { name: "Replies", value: (row) => capital(row.name) },
        { name: "Words", value: (row) => fixed(row.style.mean_words, 1), isNumber: true },
        { name: "Empty", value: (row) => percent(row.style.empty_fraction), isNumber: true },
        { name: "Distinct-2", value: (row) => fixed(row.style.distinct_2, 2), isNumber: true },
        { name: "Repeated", value: (row) => percent(row.style.repeated_fraction), isNumber: true },
        { name: "Copied", value: (row) => percent(row.style.copied_fraction), isNumber: true },
        { name: "Longest copy", value: (row) => counted(row.style.longest_shared_words, "word"), isNumber: true },
      ]}
    />
  );
}

function Answer({ answered, found }: { answered: AnsweredQuestion; found: Found }) {
  const names = new Map([...found.strategies.map((each) => [each.kind, each.name] as const), ["reference", REFERENCE] as const]);
  return (
    <Fold name={isolated(answered.question, 120)}>
      <dl class="evidence-list">
        {answered.replies.map((reply) => (
          <>
            <dt>{names.get(reply.kind) ?? reply.kind}</dt>
            <dd>
              <UserText text={reply.text || "(nothing)"} />
            </dd>
          </>
        ))}
      </dl>
    </Fold>
  );
}
