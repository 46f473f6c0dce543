import { min } from "./extent.ts";
import { type Scale, scaleLinear } from "./scale.ts";
import { tickWriter } from "./ticks.ts";

import { points, THIN_SPACE } from "../format.ts";
import { writeMetric } from "../metric.ts";
import { fitted, textWidth } from "./figure.tsx";

export interface IntervalRow {
  name: string;
  /** where there is little room */
  shortName?: string;
  isAccent: boolean;
}

/** A value with its 95 % interval; every seed is a dot of its own. */
export interface IntervalValue {
  value: number;
  low: number;
  high: number;
  seeds: number[];
}

export interface Panel {
  title: string;
  /** by row; null where there is none */
  values: (IntervalValue | null)[];
}

export interface Gain {
  from: number;
  to: number;
  difference: number;
}

const ROW = 26;
const [VALUE_WIDTH, TITLE_HEIGHT, AXIS_HEIGHT, GAP] = [66, 26, 30, 24];

export interface IntervalPlotProps {
  rows: IntervalRow[];
  panels: Panel[];
  /** what the values are: percentages of an accuracy, or another metric as it is */
  metric?: string;
  /** the ends of the scale, where it does not end at 1 */
  scale?: [number, number];
  /** a dotted line, such as the rate of guessing */
  guess?: number | null;
  /** draws the difference between two rows of the first panel as a line in the accent */
  gain?: Gain | null;
}

function layout({ rows, panels }: IntervalPlotProps, width: number) {
  const isNarrow = width < 480;
  const room = width * (isNarrow ? 0.38 : 0.27);
  const names = rows.map((row) => (textWidth(row.name) + 18 > room ? (row.shortName ?? row.name) : row.name));
  const nameWidth = Math.min(Math.max(...names.map(textWidth)) + 18, room);
  const columns = Math.max(1, Math.min(panels.length, Math.floor((width - nameWidth + GAP) / (170 + GAP))));
  const hasTitles = panels.some((panel) => panel.title !== "");
  const block = (hasTitles ? TITLE_HEIGHT : 6) + rows.length * ROW + AXIS_HEIGHT;
  return { names, nameWidth, columns, block, hasTitles, lines: Math.ceil(panels.length / columns) };
}

export function intervalPlotHeight(props: IntervalPlotProps): (width: number) => number {
  return (width) => {
    const { block, lines } = layout(props, width);
    return lines * block + (lines - 1) * 18;
  };
}

function endsOf({ panels, metric, scale }: IntervalPlotProps): [number, number] {
  const lowest = min(panels.flatMap((panel) => panel.values.flatMap((value) => (value ? [value.low] : [])))) ?? 0;
  return scale ?? [Math.max(metric === "pearson" ? -1 : 0, Math.floor(lowest * 10 - 0.1) / 10), 1];
}

/** The rate of guessing, unless it lies below the scale. */
export function drawnGuess(props: IntervalPlotProps): number | null {
  return props.guess != null && props.guess >= endsOf(props)[0] ? props.guess : null;
}

/** Scores of models as dots on one scale, panel beside panel. */
export function drawIntervalPlot(props: IntervalPlotProps, width: number) {
  const { names, nameWidth, columns, block, hasTitles } = layout(props, width);
  const panelWidth = (width - nameWidth - (columns - 1) * GAP) / columns;
  const metric = props.metric ?? "accuracy";
  const [ends, guess] = [endsOf(props), drawnGuess(props)];
  return props.panels.map((panel, index) => {
    const [column, line] = [index % columns, Math.floor(index / columns)];
    const left = nameWidth + column * (panelWidth + GAP);
    const scale = scaleLinear(ends, [left, left + panelWidth - VALUE_WIDTH]);
    const top = line * (block + 18) + (hasTitles ? TITLE_HEIGHT : 6);
    return (
      <g>
        {panel.title && (
          <text class="strong" x={left} y={top - 12}>
            {fitted(panel.title, panelWidth)}
          </text>
        )}
        <Axis scale={scale} top={top} rows={props.rows.length} guess={guess} isPercent={metric === "accuracy"} />
        {column === 0 &&
          props.rows.map((row, place) => (
            <text class={row.isAccent ? "accent" : "name"} x={0} y={top + place * ROW + ROW / 2 + 4}>
              {fitted(names[place] ?? "", nameWidth - 6)}
            </text>
          ))}
        {index === 0 && props.gain && <GainLine panel={panel} gain={props.gain} scale={scale} top={top} />}
        {panel.values.map((value, place) =>
          value === null ? null : (
            <Row value={value} metric={metric} isAccent={props.rows[place]?.isAccent ?? false} scale={scale} y={top + place * ROW + ROW / 2} right={left + panelWidth} />
          ),
        )}
      </g>
    );
  });
}


function Axis(props: { scale: Scale; top: number; rows: number; isPercent: boolean; guess: number | null }) {
  const { scale, top } = props;
  const bottom = top + props.rows * ROW;
  const [start = 0, end = 0] = scale.range();
  const ticks = scale.ticks(Math.max(2, Math.min(6, Math.floor((end - start) / 50))));
  const write = tickWriter(ticks, { factor: props.isPercent ? 100 : 1 });
  return (
    <>
      {ticks.map((tick, index) => (
        <g>
          <line class="grid" x1={scale(tick)} x2={scale(tick)} y1={top} y2={bottom} />
          <text x={scale(tick)} y={bottom + 16} text-anchor="middle">
            {write(tick)}
            {index === 0 && props.isPercent ? `${THIN_SPACE}%` : ""}
          </text>
        </g>
      ))}
      {props.guess !== null && (
        <line class="level" x1={scale(props.guess)} x2={scale(props.guess)} y1={top} y2={bottom} />
      )}
    </>
  );
}

function Row(props: { value: IntervalValue; metric: string; isAccent: boolean; scale: Scale; y: number; right: number }) {
  const { value, scale, y } = props;
  const [low, high, at] = [scale(value.low), scale(value.high), scale(value.value)];
  const isOne = value.seeds.length <= 1;
  return (
    <g class={props.isAccent ? "interval is-accent" : "interval"}>
      <line class="whisker" x1={low} x2={high} y1={y} y2={y} />
      {[low, high].map((x) => (
        <line class="cap" x1={x} x2={x} y1={y - 5} y2={y + 5} />
      ))}
      {isOne ? (
        <circle class="dot" cx={at} cy={y} r={4.5} />
      ) : (
        <>
          <line class="mean" x1={at} x2={at} y1={y - 9} y2={y + 9} />
          {value.seeds.map((seed, index) => (
            <circle class="dot seed" cx={scale(seed)} cy={y + seedOffset(index, value.seeds.length)} r={3.2} />
          ))}
        </>
      )}
      <text class={props.isAccent ? "accent" : "ink"} x={props.right} y={y + 4} text-anchor="end">
        {writeMetric(props.metric, value.value)}
      </text>
    </g>
  );
}

/** Seeds stand below one another within their row, so that equal ones are both seen. */
function seedOffset(index: number, total: number): number {
  const spread = Math.min(16, 6 * (total - 1));
  return total < 2 ? 0 : -spread / 2 + (index * spread) / (total - 1);
}

function GainLine(props: { panel: Panel; gain: Gain; scale: Scale; top: number }) {
  const { panel, gain, scale, top } = props;
  const [from, to] = [panel.values[gain.from], panel.values[gain.to]];
  if (!from || !to) return null;
  const [x1, x2] = [scale(from.value), scale(to.value)];
  const [y1, y2] = [top + gain.from * ROW + ROW / 2, top + gain.to * ROW + ROW / 2];
  const label = `${points(gain.difference)} points`;
  const hasRoom = Math.abs(x2 - x1) > textWidth(label) + 14;
  return (
    <g>
      <path class="gain" d={`M${x1} ${y1}V${y2}H${x2}`} />
      <text class="accent halo" x={hasRoom ? (x1 + x2) / 2 : Math.min(x1, scale(to.low)) - 8} y={hasRoom ? y2 - 7 : y2 + 4} text-anchor={hasRoom ? "middle" : "end"}>
        {label}
      </text>
    </g>
  );
}
