import { drawHistogram } from "../charts/bars.tsx";
import { Figure, Plot, Table } from "../charts/figure.tsx";
import { FunnelList } from "../charts/funnel.tsx";
import { Fold } from "../fold.tsx";
import { count, fixed, percent, shape, typeset } from "../format.ts";
import { UserText } from "../text.tsx";
import type { Funnel, RunTrace, TokenizerReport } from "../trace.ts";

/** The funnel, the lengths and the tokenizer, side by side. */
export function Corpus({ trace }: { trace: RunTrace }) {
  const { funnel, tokenizer } = trace;
  if (funnel === null && tokenizer === null) return null;
  return (
    <div class="three">
      {funnel && <FunnelFigure funnel={funnel} />}
      {funnel && funnel.lengths.some((bin) => bin.documents > 0) && <Lengths funnel={funnel} />}
      {tokenizer && <Tokenizer report={tokenizer} />}
    </div>
  );
}

function FunnelFigure({ funnel }: { funnel: Funnel }) {
  const [first, last] = [funnel.steps[0]?.documents ?? 0, funnel.steps.at(-1)?.documents ?? 0];
  const lost = first - last;
  const sentence =
    lost === 0
      ? `All ${count(first)} documents were kept.`
      : `The rules, one after another, dropped ${count(lost)} of ${count(first)} documents (${percent(lost / first, lost / first < 0.01 ? 2 : 1)}).`;
  return (
    <Figure title="The funnel" sentence={sentence}>
      <FunnelList steps={funnel.steps} />
      <FoundIn
        title={funnel.languages_of === null ? "Languages found" : `Languages found in a sample of ${count(funnel.languages_of)} documents`}
        counts={funnel.languages}
      />
      <FoundIn title="Personal data found" counts={funnel.personal_data} />
    </Figure>
  );
}

function FoundIn({ title, counts }: { title: string; counts: Record<string, number> }) {
  const found = Object.entries(counts).filter(([, value]) => value > 0);
  if (found.length === 0) return null;
  return (
    <p class="reading">
      {title}: {found.map(([name, value]) => `${name.replaceAll("_", " ")} ${count(value)}`).join(", ")}
    </p>
  );
}

function Lengths({ funnel }: { funnel: Funnel }) {
  const filled = funnel.lengths.map((bin) => bin.documents > 0);
  const bins = funnel.lengths.slice(filled.indexOf(true), filled.lastIndexOf(true) + 1);
  const commonest = bins.reduce((best, bin) => (bin.documents > best.documents ? bin : best));
  const name = (words: string) => words.replace(/-$/, " or more").replace("-", "–");
  return (
    <Figure
      title="How long documents are"
      sentence={`Most often ${name(commonest.words).replace("–", " to ")} words, after cleaning; the ranges are not equally wide.`}
      table={
        <Table
          caption="Documents by number of words"
          rows={bins}
          columns={[
            { name: "Words", value: (bin) => name(bin.words) },
            { name: "Documents", value: (bin) => count(bin.documents), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={168}
        label="Bars of the number of documents in each range of words"
        draw={(width, height) =>
          drawHistogram(
            bins.map((bin) => ({ name: name(bin.words).replace(" or more", "+"), value: bin.documents })),
            width,
            height,
          )
        }
      />
      <p class="axis-name">words</p>
    </Figure>
  );
}

function Tokenizer({ report }: { report: TokenizerReport }) {
  const facts: [string, string | null][] = [
    ["Tokens in the vocabulary", count(report.vocab_size)],
    ["Tokens per word", report.tokens_per_word === null ? null : fixed(report.tokens_per_word, 2)],
    ["Characters per token", report.characters_per_token === null ? null : fixed(report.characters_per_token, 2)],
    ["Unknown tokens", report.unknown_fraction === null ? null : percent(report.unknown_fraction, report.unknown_fraction === 0 ? 0 : 2)],
    ["Texts decoded unchanged", report.round_trip_fraction === null ? null : percent(report.round_trip_fraction, report.round_trip_fraction === 1 ? 0 : 2)],
  ];
  const perWord = report.tokens_per_word;
  const isWhole = perWord !== null && perWord < 1.5;
  return (
    <Figure
      title="How the tokenizer cuts"
      sentence={
        perWord === null
          ? "What the tokenizer makes of the cleaned text."
          : `A word of the corpus is ${isWhole ? "mostly one token" : `cut into ${fixed(perWord, 1)} tokens on average`}.`
      }
    >
      <dl class="pairs">
        {facts
          .filter(([, value]) => value !== null)
          .map(([name, value]) => (
            <div>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      <Fold name="The tokenizer’s report">
        <div class="report">
          {report.size_rule && <p>{typeset(report.size_rule)}</p>}
          <p>
            Kind {report.kind}
            {report.trainer && `, trained by ${report.trainer}`}
            {report.encoders.length > 0 && `, encoded by ${report.encoders.join(" and ")}`}.
          </p>
          {report.longest_tokens.length > 0 && (
            <p>
              Longest tokens:{" "}
              {report.longest_tokens.map((token, index) => (
                <>
                  {index > 0 && ", "}
                  <UserText text={token.trim()} limit={40} />
                </>
              ))}
              .
            </p>
          )}
          {report.views.length > 0 && (
            <p>
              {report.views
                .map((view) => `As ${view.name}: ${shape(view.shape)}, ${percent(view.padding_fraction)} of it padding`)
                .join("; ")}
              .
            </p>
          )}
        </div>
      </Fold>
    </Figure>
  );
}
