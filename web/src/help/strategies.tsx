import { Figure, Plot, Table } from "../charts/figure.tsx";
import { drawIntervalPlot, intervalPlotHeight, type IntervalPlotProps } from "../charts/intervals.tsx";
import { Fold } from "../fold.tsx";
import { capital, count, fixed, nats, or, percent, signedTelling, THIN_SPACE, typeset } from "../format.ts";
import { Lead, Part } from "../section.tsx";
import { isolated, Plain, UserText } from "../text.tsx";
import type { AnsweredQuestion, ReplyStyle, Strategies as Found, Strategy, Verdict } from "../trace.ts";
import { VerdictTable } from "./verdict_table.tsx";

const REFERENCE = "held-out replies";
const SHOWN_QUESTION = 120; // characters, while it is folded
const SHORT: Record<string, string> = { further: "further, then tuned" };

/** Four ways to a chatbot on the same held-out conversations: the conclusion, the losses, and all replies to the same questions. */
export function Strategies({ found }: { found: Found }) {
  return (
    <>
      <Lead>{typeset(found.conclusion)}</Lead>
      <Part title="Loss of the held-out replies" sentence={<Plain text={typeset([found.reason, found.budget, found.base].filter(Boolean).join(" "))} />}>
        <Losses found={found} />
        <Fold name="What each was trained on">
          <dl class="evidence-list">
            {found.strategies.map((strategy) => (
              <>
                <dt>{capital(strategy.name)}</dt>
                <dd>
                  <Plain text={typeset(capital(strategy.training.replace(`${capital(strategy.name)}: `, "")))} />
                </dd>
              </>
            ))}
          </dl>
        </Fold>
      </Part>
      {found.verdicts.length > 0 && <Differences found={found} />}
      <Part title="How they reply" sentence={found.notice ? typeset(found.notice) : undefined}>
        <Styles found={found} />
      </Part>
      {found.answers.length > 0 && (
        <Part title="The same questions, all replies" sentence="The last reply to each is the one in the held-out conversation.">
          {found.answers.map((answered) => (
            <Answer answered={answered} found={found} />
          ))}
        </Part>
      )}
    </>
  );
}

/** Every strategy with its loss and interval; lower is better, so the lowest is in the accent. */
function Losses({ found }: { found: Found }) {
  const best = Math.min(...found.strategies.map((strategy) => strategy.losses[0]?.loss ?? Number.POSITIVE_INFINITY));
  const every = found.strategies.flatMap((strategy) => strategy.losses);
  const step = 0.5;
  const plot: IntervalPlotProps = {
    rows: found.strategies.map((strategy) => ({
      name: capital(strategy.name),
      shortName: capital(SHORT[strategy.kind] ?? strategy.name),
      isAccent: strategy.losses[0]?.loss === best,
    })),
    panels: found.held_out.map((text, place) => ({
      title: `${isolated(text.name, 24)}, n = ${count(text.conversations)}`,
      values: found.strategies.map(({ losses: { [place]: loss } }) => (loss ? { ...loss, value: loss.loss } : null)),
    })),
    metric: "reply_loss",
    scale: [
      Math.max(0, Math.floor(Math.min(...every.map((loss) => loss.low)) / step) * step),
      Math.ceil(Math.max(...every.map((loss) => loss.high)) / step) * step,
    ],
  };
  return (
    <Figure
      title="Loss by strategy, in nats per token"
      sentence={`Lower is better; the bar is the 95${THIN_SPACE}% interval over conversations.`}
      table={<LossTable found={found} />}
    >
      <Plot height={intervalPlotHeight(plot)} draw={(width) => drawIntervalPlot(plot, width)} />
    </Figure>
  );
}

function LossTable({ found }: { found: Found }) {
  return (
    <Table
      class="small strategies-table"
      caption="Loss of the held-out replies, in nats per token"
      rows={found.strategies}
      columns={[
        { name: "Strategy", value: (row) => capital(row.name) },
        ...found.held_out.flatMap((text, place) => [
          { name: `Loss, ${isolated(text.name, 24)}`, value: (row: Strategy) => or(row.losses[place]?.loss, nats), isNumber: true },
          {
            name: `95${THIN_SPACE}% interval`,
            value: ({ losses: { [place]: loss } }: Strategy) => loss && `${nats(loss.low)} to ${nats(loss.high)}`,
            isNumber: true,
          },
        ]),
        { name: "Perplexity", value: (row) => or(row.losses[0]?.perplexity, (value) => fixed(value, 1)), isNumber: true },
        { name: "Minutes", value: (row) => fixed(row.minutes, 1), isNumber: true },
      ]}
    />
  );
}

/** Every verdict as a row, by the conversations it is about; a hollow mark is no clear difference. */
function Differences({ found }: { found: Found }) {
  const slices = [...new Set(found.verdicts.map((verdict) => verdict.slice))];
  return (
    <Part
      title="Which differences are clear"
      sentence={`How much lower the loss is on the same conversations, with its 95${THIN_SPACE}% interval; where that holds zero, or p (corrected for the number of comparisons) is 0.05 or more, no difference is claimed. ${typeset(found.coverage)}`}
    >
      <VerdictTable
        caption="Differences, by the conversations"
        subject="Strategies"
        unit="Nats"
        groups={slices.map((slice) => ({
          title: (
            <>
              On <UserText text={slice ?? found.held_out[0]?.name ?? "the held-out conversations"} limit={60} />
            </>
          ),
          verdicts: found.verdicts.filter((verdict) => verdict.slice === slice),
        }))}
        describe={(verdict) => <Between verdict={verdict} found={found} />}
        factor={1}
        difference={(value) => signedTelling(value, 3)}
        range={(low, high) => `${signedTelling(low, 3)} to ${signedTelling(high, 3)}`}
      />
    </Part>
  );
}

function Between({ verdict, found }: { verdict: Verdict; found: Found }) {
  const [one = "", other = ""] = verdict.between;
  return (
    <>
      <b>{capital(nameOf(found, one))}</b>, against {nameOf(found, other)}
      {verdict.outcome === "no clear difference" ? ": no clear difference" : ""}
    </>
  );
}

function nameOf(found: Found, kind: string): string {
  return kind === "reference" ? REFERENCE : (found.strategies.find((each) => each.kind === kind)?.name ?? kind);
}

function Styles({ found }: { found: Found }) {
  const rows: { name: string; style: ReplyStyle }[] = [...found.strategies, { name: REFERENCE, style: found.reference_style }].flatMap(
    ({ name, style }) => (style ? [{ name, style }] : []),
  );
  if (rows.length === 0) return null;
  return (
    <Table
      class="small strategies-table"
      caption="How the strategies reply"
      rows={rows}
      columns={[
        { name: "Replies", value: (row) => capital(row.name) },
        { name: "Words", value: (row) => fixed(row.style.mean_words, 1), isNumber: true },
        { name: "Empty", value: (row) => percent(row.style.empty_fraction), isNumber: true },
        { name: "Distinct-2", value: (row) => fixed(row.style.distinct_2, 2), isNumber: true },
        { name: "Repeated", value: (row) => percent(row.style.repeated_fraction), isNumber: true },
        { name: "Copied", value: (row) => percent(row.style.copied_fraction), isNumber: true },
        { name: "Longest copy, words", value: (row) => count(row.style.longest_shared_words), isNumber: true },
      ]}
    />
  );
}

function Answer({ answered, found }: { answered: AnsweredQuestion; found: Found }) {
  const order = [...found.strategies.map((each) => each.kind), "reference"];
  const replies = [...answered.replies].sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
  return (
    <Fold name={isolated(answered.question, SHOWN_QUESTION)}>
      <dl class="evidence-list">
        {answered.question.length > SHOWN_QUESTION && (
          <>
            <dt>The whole question</dt>
            <dd>
              <UserText text={answered.question} />
            </dd>
          </>
        )}
        {replies.map((reply) => (
          <>
            <dt>{capital(nameOf(found, reply.kind))}</dt>
            <dd>
              <UserText text={reply.text || "(nothing)"} />
            </dd>
          </>
        ))}
      </dl>
    </Fold>
  );
}
