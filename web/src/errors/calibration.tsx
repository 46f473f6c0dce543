// Reliability: how many are right among the rows of a probability, beside what chance would give at this n.
import { min } from "../charts/extent.ts";
import { scaleLinear } from "../charts/scale.ts";

import { Figure, Plot, Table } from "../charts/figure.tsx";
import { capital, count, counted, fixed, percent, probability, range } from "../format.ts";
import { modelName } from "../models.ts";
import type { Calibration, CalibrationBin, RunTrace } from "../trace.ts";
import { wilson } from "./counts.ts";

const HEIGHT = 280;
const MARGIN = { left: 42, right: 4, top: 12, bottom: 62 };

export function CalibrationPlots({ calibration, trace }: { calibration: Calibration[]; trace: RunTrace }) {
  const floor = floorOf(calibration.flatMap(({ bins }) => bins));
  return (
    <>
      <ul class="key" aria-hidden="true">
        <li>
          <i class="key-dot" />
          fraction right, with its 95 % interval
        </li>
        <li>
          <i class="key-chance" />
          where a calibrated model lies at this n, 95 times in 100
        </li>
        <li>
          <i class="key-mean" />
          mean probability
        </li>
      </ul>
      <div class="g2">
        {calibration.map((model) => (
          <ReliabilityFigure key={model.model} calibration={model} name={nameOf(model, trace)} floor={floor} />
        ))}
      </div>
    </>
  );
}

function nameOf({ model }: Calibration, trace: RunTrace): string {
  return trace.comparison ? modelName(trace.comparison, model) : model.replaceAll("_", " ");
}

/** One sentence for each model: its error beside the one that chance alone would give. */
export function calibrationSentence(calibration: readonly Calibration[], trace: RunTrace): string {
  return calibration
    .map((model) => {
      const figures = `${fixed(100 * model.error, 1)} points, by chance up to ${fixed(100 * model.error_by_chance, 1)}`;
      const verdict = model.error > model.error_by_chance ? "its probabilities are off" : "no error beyond chance";
      return `${capital(nameOf(model, trace))}: calibration error ${figures}, so ${verdict}.`;
    })
    .join(" ");
}

/** The lowest value of the axis, the same for all models: a tenth below everything that is drawn. */
function floorOf(bins: readonly CalibrationBin[]): number {
  const lowest = min(bins.filter(({ n }) => n > 0), (bin) =>
    Math.min(bin.chance_low, bin.mean_probability, wilson(bin.right, bin.n)[0]),
  );
  return Math.max(0, Math.floor((lowest ?? 0) * 10) / 10);
}

function ReliabilityFigure({ calibration, name, floor }: { calibration: Calibration; name: string; floor: number }) {
  const bins = calibration.bins.filter(({ n }) => n > 0);
  return (
    <Figure
      title={capital(name)}
      sentence={outsideSentence(bins)}
      table={
        <Table
          caption={`Reliability, ${name}`}
          rows={bins}
          columns={[
            { name: "Probability", value: ({ low, high }) => `${probability(low)} to ${probability(high)}` },
            { name: "Mean", value: ({ mean_probability: mean }) => probability(mean), isNumber: true },
            { name: "Rows", value: ({ n }) => count(n), isNumber: true },
            { name: "Right", value: ({ n, right }) => percent(right / n), isNumber: true },
            { name: "95 % interval, %", value: ({ n, right }) => range(...wilson(right, n)), isNumber: true },
            {
              name: "By chance, %",
              value: ({ chance_low: low, chance_high: high }) => range(low, high),
              isNumber: true,
            },
          ]}
        />
      }
    >
      <Plot
        height={HEIGHT}
        label="Fraction right by probability, with the band of chance; the numbers are in the table below."
        draw={(width) => <Reliability bins={bins} floor={floor} width={width} />}
      />
      <p class="reading">
        Brier score {fixed(calibration.brier_score, 4)}, loss {fixed(calibration.loss, 3)} nats.
      </p>
    </Figure>
  );
}

function outsideSentence(bins: readonly CalibrationBin[]): string {
  const outside = bins.filter(({ n, right, chance_low: low, chance_high: high }) => right / n < low || right / n > high);
  const first = `${capital(counted(bins.length, "group"))} of rows, the least sure on the left.`;
  if (outside.length === 0) return `${first} All lie where a calibrated model would.`;
  const lower = outside.filter(({ n, right, chance_low: low }) => right / n < low).length;
  const where = lower === outside.length ? "below" : lower === 0 ? "above" : "outside";
  return `${first} ${capital(counted(outside.length, "group"))} ${outside.length === 1 ? "lies" : "lie"} ${where} the band of chance.`;
}

/** Groups of rows side by side, by probability: the width of a group says nothing, n is written below each. */
function Reliability({ bins, floor, width }: { bins: CalibrationBin[]; floor: number; width: number }) {
  const y = scaleLinear([floor, 1], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const step = (width - MARGIN.left - MARGIN.right) / Math.max(1, bins.length);
  const bottom = HEIGHT - MARGIN.bottom;
  const every = Math.max(1, Math.ceil(46 / step));
  return (
    <>
      {y.ticks(5).map((tick) => (
        <g>
          <line class={tick === floor ? "axis" : "grid"} x1={MARGIN.left} x2={width} y1={y(tick)} y2={y(tick)} />
          <text x={MARGIN.left - 8} y={y(tick) + 4} text-anchor="end">
            {fixed(100 * tick, 0)}
            {tick === 1 ? " %" : ""}
          </text>
        </g>
      ))}
      {bins.map((bin, index) => {
        const x = MARGIN.left + (index + 0.5) * step;
        const half = Math.min(step * 0.36, 16);
        const [low, high] = wilson(bin.right, bin.n);
        return (
          <g>
            <rect
              class="chance"
              x={x - half}
              width={2 * half}
              y={y(bin.chance_high) - 1}
              height={Math.max(2, y(bin.chance_low) - y(bin.chance_high) + 2)}
            />
            <line class="mean-tick" x1={x - half} x2={x + half} y1={y(bin.mean_probability)} y2={y(bin.mean_probability)} />
            <g class="interval is-accent">
              <line class="whisker" x1={x} x2={x} y1={y(low)} y2={y(high)} />
              <circle class="dot" cx={x} cy={y(bin.right / bin.n)} r={4} />
            </g>
            {index % every === 0 && (
              <>
                <text x={x} y={bottom + 17} text-anchor="middle">
                  {shortProbability(bin.mean_probability)}
                </text>
                <text x={x} y={bottom + 34} text-anchor="middle">
                  {count(bin.n)}
                </text>
              </>
            )}
          </g>
        );
      })}
      <text x={MARGIN.left - 8} y={bottom + 34} text-anchor="end">
        n
      </text>
      <text x={MARGIN.left - 8} y={bottom + 17} text-anchor="end">
        mean
      </text>
      <text x={width} y={bottom + 54} text-anchor="end">
        mean probability of the group, %
      </text>
    </>
  );
}

/** Percent without a sign, as short as it stays true: 56, 94.8, >99.9 */
function shortProbability(value: number): string {
  if (value > 0.9995) return ">99.9";
  return fixed(100 * value, value > 0.9 ? 1 : 0);
}
