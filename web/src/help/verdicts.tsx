import { type Forest, ForestAxis, ForestRow, forestScale } from "../charts/small.tsx";
import { capital, counted, fixed, or, points, pointsRange, pValue, typeset } from "../format.ts";
import { pointsOf } from "../metric.ts";
import { modelName } from "../models.ts";
import { Part } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { Comparison, Verdict } from "../trace.ts";

/** Every verdict as a row, grouped by the opponent; a hollow mark is no clear difference. */
export function Verdicts({ comparison }: { comparison: Comparison }) {
  const { verdicts, coverage } = comparison;
  const forest = forestScale(verdicts.flatMap((verdict) => [verdict.low, verdict.high]));
  const opponents = [...new Set(verdicts.map((verdict) => verdict.between[1] ?? ""))];
  return (
    <Part
      title={capital(counted(verdicts.length, "verdict"))}
      sentence={`The difference in ${pointsOf(verdicts[0]?.metric ?? "accuracy")} on the same texts, with its 95 % interval; where that holds zero, no difference is claimed. ${typeset(coverage)}`}
    >
      <table class="verdicts">
        <caption class="unseen">Verdicts, by opponent</caption>
        <thead>
          <tr>
            <th scope="col">Verdict</th>
            <th scope="col" class="forest-cell">
              <span class="unseen">Picture of the interval</span>
              <ForestAxis forest={forest} write={axisLabel} />
            </th>
            <th scope="col" class="number">
              Points
            </th>
            <th scope="col" class="number">
              95 % interval
            </th>
            <th scope="col" class="number">
              Test
            </th>
          </tr>
        </thead>
        {opponents.map((opponent) => (
          <tbody>
            <tr class="phase-row">
              <th scope="rowgroup" colSpan={5}>
                {against(comparison, opponent)}
              </th>
            </tr>
            {verdicts
              .filter((verdict) => (verdict.between[1] ?? "") === opponent)
              .map((verdict) => (
                <VerdictRow verdict={verdict} forest={forest} />
              ))}
          </tbody>
        ))}
      </table>
    </Part>
  );
}

function against(comparison: Comparison, opponent: string): string {
  return opponent === "scratch" ? "Against the same network from scratch" : `Against ${modelName(comparison, opponent)}`;
}

function axisLabel(value: number): string {
  const text = fixed(100 * value, 0);
  return value > 0 ? `+${text}` : text;
}

function VerdictRow({ verdict, forest }: { verdict: Verdict; forest: Forest }) {
  const isClear = verdict.outcome !== "no clear difference";
  return (
    <tr>
      <th scope="row" class="verdict-text">
        {outcome(verdict)} {verdict.slice === null ? "on all test texts" : "on slice "}
        {verdict.slice !== null && <b><UserText text={verdict.slice} limit={60} /></b>}
      </th>
      <td class="forest-cell">
        <ForestRow forest={forest} value={verdict.difference} low={verdict.low} high={verdict.high} isClear={isClear} />
      </td>
      <td class="number points">
        <b>{points(verdict.difference)}</b>
      </td>
      <td class="number interval-text">{pointsRange(verdict.low, verdict.high)}</td>
      <td class="number p-value">{or(verdict.p_value, pValue)}</td>
    </tr>
  );
}

/** In words, since the numbers stand beside it. */
function outcome({ between, outcome: found }: Verdict): string {
  const isControl = between[1] === "scratch";
  const model = between[0] === "stack" ? "The model as delivered" : "The pre-trained model";
  switch (found) {
    case "better":
      return isControl ? "Pre-training helped" : `${model} is better`;
    case "worse":
      return isControl ? "Pre-training hurt" : `${model} is worse`;
    default:
      return "No clear difference";
  }
}
