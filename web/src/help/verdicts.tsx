import { capital, counted, points, pointsRange, typeset } from "../format.ts";
import { pointsOf } from "../metric.ts";
import { isDelivered, modelName } from "../models.ts";
import { Part } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { Comparison, Verdict } from "../trace.ts";
import { VerdictTable } from "./verdict_table.tsx";

/** Every verdict as a row, grouped by the opponent; a hollow mark is no clear difference. */
export function Verdicts({ comparison }: { comparison: Comparison }) {
  const { verdicts, coverage } = comparison;
  const opponents = [...new Set(verdicts.map((verdict) => verdict.between[1] ?? ""))];
  return (
    <Part
      title={capital(counted(verdicts.length, "verdict"))}
      sentence={`The difference in ${pointsOf(verdicts[0]?.metric ?? "accuracy")} on the same texts, with its 95 % interval; where that holds zero, or p is 0.05 or more, no difference is claimed. ${typeset(coverage)}`}
    >
      <VerdictTable
        caption="Verdicts, by opponent"
        subject="Verdict"
        unit="Points"
        groups={opponents.map((opponent) => ({
          title: against(comparison, opponent),
          verdicts: verdicts.filter((verdict) => (verdict.between[1] ?? "") === opponent),
        }))}
        describe={describe}
        factor={100}
        difference={points}
        range={pointsRange}
      />
    </Part>
  );
}

function against(comparison: Comparison, opponent: string): string {
  return opponent === "scratch" ? "Against the same network from scratch" : `Against ${modelName(comparison, opponent)}`;
}

function describe(verdict: Verdict) {
  return (
    <>
      {outcome(verdict)} {verdict.slice === null ? "on all test texts" : "on slice "}
      {verdict.slice !== null && <b><UserText text={verdict.slice} limit={60} /></b>}
    </>
  );
}

/** In words, since the numbers stand beside it. */
function outcome({ between, outcome: found }: Verdict): string {
  const isControl = between[1] === "scratch";
  const model = isDelivered(between[0]) ? "The model as delivered" : "The pre-trained model";
  switch (found) {
    case "better":
      return isControl ? "Pre-training helped" : `${model} is better`;
    case "worse":
      return isControl ? "Pre-training hurt" : `${model} is worse`;
    default:
      return "No clear difference";
  }
}
