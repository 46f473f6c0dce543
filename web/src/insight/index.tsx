import { Command } from "../command.tsx";
import { Fold } from "../fold.tsx";
import { typeset } from "../format.ts";
import { NothingYet, Part } from "../section.tsx";
import { Plain } from "../text.tsx";
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

const FIGURE = /([+\u2212]?\d[\d,]*(?:\.\d+)?(?:\u202f%| points))/;

/** The first figure of a sentence stands out; the others argue for it. */
function WithFigures({ sentence }: { sentence: string }) {
  const [before = "", figure, ...after] = sentence.split(FIGURE);
  return (
    <>
      <Plain text={before} />
      {figure && <em>{figure}</em>}
      <Plain text={after.join("")} />
    </>
  );
}
