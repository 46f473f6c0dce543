// Error rates of groups of test rows, with intervals.
import { max } from "../charts/extent.ts";
import { scaleLinear } from "../charts/scale.ts";
import { tickWriter } from "../charts/ticks.ts";

import { Figure, Plot, Table } from "../charts/figure.tsx";
import { count } from "../format.ts";
import { plainText, plainWidth, roomFor } from "../prediction/figures.ts";
import { UserText } from "../text.tsx";
import type { SliceError, TestErrors, TestResult } from "../trace.ts";
import { rightIn, totalOf, wilson } from "./counts.ts";
import { rate, rateRange } from "./rates.ts";

const ROW = 34;
const AXIS_HEIGHT = 34;
const SHOWN = 12;

/** `test` has the interval over all rows, which vary in groups where one contains another. */
export function SliceFigure({ errors, test }: { errors: TestErrors; test: TestResult | undefined }) {
  const slices = [...errors.slices].sort((a, b) => errorRate(b) - errorRate(a));
  const rows = [everything(errors, test), ...slices.slice(0, SHOWN)];
  return (
    <Figure
      title="Where the mistakes are"
      sentence={sliceSentence(errors.slices)}
      table={
        <Table
          caption="Error rate of each slice"
          rows={[everything(errors, test), ...slices]}
          columns={[
            { name: "Slice", value: ({ slice }) => <UserText text={slice} limit={60} /> },
            { name: "Rows", value: ({ n }) => count(n), isNumber: true },
            { name: "Wrong", value: ({ wrong }) => count(wrong), isNumber: true },
            { name: "Error rate", value: (slice) => rate(errorRate(slice)), isNumber: true },
            { name: "95 % interval", value: ({ low, high }) => rateRange(low, high), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={ROW * rows.length + AXIS_HEIGHT}
        label="Error rate of each slice with its 95 % interval; the numbers are in the table below."
        draw={(width) => <Intervals rows={rows} width={width} />}
      />
      {slices.length > SHOWN && <p class="note">The {SHOWN} slices with the highest rates are drawn, all are in the table.</p>}
    </Figure>
  );
}

function everything(errors: TestErrors, test: TestResult | undefined): SliceError {
  const n = totalOf(errors.confusion);
  const wrong = n - rightIn(errors.confusion);
  const [low, high] = test ? [1 - test.high, 1 - test.low] : wilson(wrong, n);
  return { slice: "all test texts", n, wrong, low, high };
}

function errorRate({ n, wrong }: SliceError): number {
  return n === 0 ? 0 : wrong / n;
}

/** Which slices differ: two of them do where their intervals do not touch. Where they do touch, the difference may still
 * be larger than chance explains. */
export function sliceSentence(slices: readonly SliceError[]): string | undefined {
  const counted = slices.filter(({ n }) => n > 0);
  if (counted.length < 2) return undefined;
  const pair = counted
    .flatMap((worse) => counted.map((better) => ({ worse, better })))
    .filter(({ worse, better }) => worse.low > better.high)
    .sort((a, b) => errorRate(b.worse) - errorRate(b.better) - (errorRate(a.worse) - errorRate(a.better)))[0];
  if (!pair) return "The intervals of all slices overlap; that alone does not tell whether slices differ.";
  const { worse, better } = pair;
  return (
    `“${plainText(worse.slice, 40)}” is wrong in ${rate(errorRate(worse))} of its rows, “${plainText(better.slice, 40)}” in ` +
    `${rate(errorRate(better))}; their intervals do not overlap.`
  );
}

function Intervals({ rows, width }: { rows: SliceError[]; width: number }) {
  const longest = Math.max(...rows.map(({ slice }) => plainWidth(plainText(slice, 30))));
  const left = Math.min(longest + 8, width * 0.36);
  const valueWidth = 96;
  const top = Math.min(1, (max(rows, ({ high }) => high) ?? 1) * 1.05);
  const x = scaleLinear([0, top || 1], [left + 6, width - valueWidth]);
  const bottom = ROW * rows.length;
  const ticks = x.ticks(Math.max(2, Math.min(5, Math.floor((width - valueWidth - left) / 60))));
  const write = tickWriter(ticks, { factor: 100 });
  return (
    <>
      {ticks.map((tick, index) => (
        <g>
          <line class={tick === 0 ? "axis" : "grid"} x1={x(tick)} x2={x(tick)} y1={0} y2={bottom} />
          <text x={x(tick)} y={bottom + 17} text-anchor="middle">
            {write(tick)}
            {index === 0 ? " %" : ""}
          </text>
        </g>
      ))}
      {rows.map((row, index) => {
        const y = index * ROW + ROW / 2;
        return (
          <g class={index === 0 ? "interval" : "interval is-accent"}>
            <text class="name" x={0} y={y + 4}>
              {plainText(row.slice, Math.max(6, roomFor(row.slice, left)))}
            </text>
            <line class="whisker" x1={x(row.low)} x2={x(Math.min(row.high, top))} y1={y} y2={y} />
            {[row.low, row.high].map((end) => (
              <line class="cap" x1={x(end)} x2={x(end)} y1={y - 5} y2={y + 5} />
            ))}
            <circle class="dot" cx={x(errorRate(row))} cy={y} r={4.5} />
            <text class="ink" x={width} y={y - 2} text-anchor="end">
              {rate(errorRate(row))}
            </text>
            <text x={width} y={y + 12} text-anchor="end">
              {count(row.wrong)} of {count(row.n)}
            </text>
          </g>
        );
      })}
    </>
  );
}
