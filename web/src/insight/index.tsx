import { Command } from "../command.tsx";
import { Fold } from "../fold.tsx";
import { typeset } from "../format.ts";
import { NothingYet, Part } from "../section.tsx";
import { Sentence } from "../text.tsx";
import { Evidence } from "../training/table.tsx";
import type { RunTrace } from "../trace.ts";

const MOST = 3;

/** At most three sentences with numbers of this run, then one command. */
export function InsightSection({ trace }: { trace: RunTrace }) {
  const insights = trace.insights.slice(0, MOST);
  const { next_step } = trace;
  if (insights.length === 0 && !next_step) {
    return <NothingYet section="insight" trace={trace} sentence="No rule has found anything to say yet." />;
  }
  return (
    <>
      {insights.length > 0 && (
        <div class="insights">
          {insights.map((insight) => (
            <p>
              <WithFigures sentence={typeset(insight.sentence)} />
            </p>
          ))}
          <Fold name="Where these numbers stand">
            {insights.map((insight) => (
              <Evidence observation={insight} />
            ))}
          </Fold>
        </div>
      )}
      {next_step && (
        <Part title="What to try next" sentence={typeset(next_step.sentence)}>
          <Command text={next_step.command} />
        </Part>
      )}
    </>
  );
}

const FIGURE = /“[^”]*”|([+\u2212]?\d[\d,]*(?:\.\d+)?(?:\u202f%| points))/g; // none in a name that is quoted

/** The first figure of a sentence stands out; the others argue for it. */
export function WithFigures({ sentence }: { sentence: string }) {
  const found = [...sentence.matchAll(FIGURE)].find((match) => match[1]);
  const [at, figure] = found ? [found.index, found[0]] : [sentence.length, ""];
  return (
    <>
      <Sentence text={sentence.slice(0, at)} />
      {figure && <em>{figure}</em>}
      <Sentence text={sentence.slice(at + figure.length)} />
    </>
  );
}
