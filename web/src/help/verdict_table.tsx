import type { ComponentChildren } from "preact";
import { ForestAxis, ForestRow, forestScale } from "../charts/small.tsx";
import { or, pValue, THIN_SPACE } from "../format.ts";
import type { Verdict } from "../trace.ts";

interface Props {
  caption: string;
  /** the heading of the first column */
  subject: string;
  unit: string;
  groups: { title: ComponentChildren; verdicts: Verdict[] }[];
  describe: (verdict: Verdict) => ComponentChildren;
  /** of the numbers on the axis: 100 for points */
  factor: number;
  difference: (value: number) => string;
  range: (low: number, high: number) => string;
}

/** Verdicts in groups, each with a picture of its interval on one scale; a hollow mark is no clear difference. */
export function VerdictTable({ caption, subject, unit, groups, describe, factor, difference, range }: Props) {
  const forest = forestScale(groups.flatMap(({ verdicts }) => verdicts.flatMap(({ low, high }) => [low, high])));
  return (
    <table class="verdicts">
      <caption class="unseen">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">{subject}</th>
          <th scope="col" class="forest-cell">
            <span class="unseen">Picture of the interval</span>
            <ForestAxis forest={forest} factor={factor} />
          </th>
          <th scope="col" class="number">
            {unit}
          </th>
          <th scope="col" class="number">
            95{THIN_SPACE}% interval
          </th>
          <th scope="col" class="number">
            Test
          </th>
        </tr>
      </thead>
      {groups.map(({ title, verdicts }) => (
        <tbody>
          <tr class="phase-row">
            <th scope="rowgroup" colSpan={5}>
              {title}
            </th>
          </tr>
          {verdicts.map((verdict) => (
            <tr>
              <th scope="row" class="verdict-text">
                {describe(verdict)}
              </th>
              <td class="forest-cell">
                <ForestRow
                  forest={forest}
                  value={verdict.difference}
                  low={verdict.low}
                  high={verdict.high}
                  isClear={verdict.outcome !== "no clear difference"}
                />
              </td>
              <td class="number points">
                <b>{difference(verdict.difference)}</b>
              </td>
              <td class="number interval-text">{range(verdict.low, verdict.high)}</td>
              <td class="number p-value">{or(verdict.p_value, pValue)}</td>
            </tr>
          ))}
        </tbody>
      ))}
    </table>
  );
}
