import { extent } from "./extent.ts";
import { type Scale, scaleLinear } from "./scale.ts";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { Figure, Plot, textWidth } from "./figure.tsx";
import { areaPath, linePath } from "./path.ts";

export interface Point {
  x: number;
  y: number;
  /** ends of the 95 % interval */
  low?: number | null;
  high?: number | null;
}

export interface Line {
  name: string;
  /** solid and in the accent; dashed and grey; single pale dots */
  kind: "validation" | "training" | "steps";
  points: Point[];
}

export interface Level {
  name: string;
  value: number;
}

export interface LineChartProps {
  title: string;
  sentence?: ComponentChildren;
  aside?: ComponentChildren;
  table?: ComponentChildren;
  lines: Line[];
  levels?: Level[];
  /** where something begins, such as the decay of the rate */
  events?: { x: number; name: string }[];
  /** the x of the checkpoint that is kept */
  kept?: number | null;
  /** the axis starts at 0 where it is left out */
  domain?: [number, number];
  write: (value: number) => string;
  writeTick?: (value: number) => string;
  /** what x counts, such as "epoch" */
  unit: string;
  writeX: (value: number) => string;
  height?: number;
}

/** the part of the single updates that the axis reaches */
const MOST_STEPS = 0.95;
const MARGIN = { top: 22, right: 8, bottom: 30, left: 46 };

/** Lines over the course of training. The arrow keys move a cursor; what stands there is said below. */
export function LineChart(props: LineChartProps) {
  const stops = cursorStops(props.lines);
  const [cursor, setCursor] = useState<number | null>(null);
  const at = cursor === null ? null : Math.min(cursor, stops.length - 1);
  const x = at === null ? undefined : stops[at];
  const said = reading(props, x);
  const height = props.height ?? 190;

  const move = (event: KeyboardEvent) => {
    const to = { ArrowLeft: (at ?? stops.length) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (event.key === "Escape") setCursor(null);
    if (to === undefined) return;
    event.preventDefault();
    setCursor(Math.max(0, Math.min(stops.length - 1, to)));
  };
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const width = (box.width * height) / box.height;
    const scale = horizontal(props, width);
    setCursor(nearest(stops, scale.invert(((event.clientX - box.left) / box.width) * width)));
  };

  return (
    <Figure title={props.title} sentence={props.sentence} aside={props.aside} table={props.table} class="lines">
      <div
        class="cursor-host"
        role="slider"
        tabIndex={0}
        aria-label={`${props.title}, by ${props.unit}`}
        aria-valuemin={0}
        aria-valuemax={Math.max(0, stops.length - 1)}
        aria-valuenow={at ?? Math.max(0, stops.length - 1)}
        aria-valuetext={said}
        onKeyDown={move}
        onPointerMove={point}
        onPointerLeave={() => setCursor(null)}
        onBlur={() => setCursor(null)}
      >
        <Plot height={height} draw={(width) => <Drawing {...props} width={width} height={height} cursor={x} />} />
      </div>
      <output class="reading" aria-live="off">
        {said}
      </output>
    </Figure>
  );
}

/** The x of the points that the cursor stops at: those of the lines, or of the steps where there are no lines. */
function cursorStops(lines: Line[]): number[] {
  const drawn = lines.some((l) => l.kind !== "steps" && l.points.length > 0)
    ? lines.filter((l) => l.kind !== "steps")
    : lines;
  return [...new Set(drawn.flatMap((l) => l.points.map((p) => p.x)))].sort((a, b) => a - b);
}

function nearest(stops: number[], x: number): number | null {
  let best: number | null = null;
  stops.forEach((stop, index) => {
    if (best === null || Math.abs(stop - x) < Math.abs((stops[best] as number) - x)) best = index;
  });
  return best;
}

function reading(props: LineChartProps, x: number | undefined): string {
  const hasLines = props.lines.some((l) => l.kind !== "steps" && l.points.length > 0);
  const said = props.lines
    .filter((l) => l.points.length > 0 && (l.kind !== "steps" || !hasLines))
    .map((l) => {
      const found = x === undefined ? l.points.at(-1) : l.points.find((p) => p.x === x);
      if (!found) return null;
      const interval =
        found.low != null && found.high != null ? ` (${bare(props.write(found.low))} to ${bare(props.write(found.high))})` : "";
      return `${l.name} ${props.write(found.y)}${interval}`;
    })
    .filter((part) => part !== null);
  if (said.length === 0) return "Nothing measured yet";
  const place = x === undefined ? "Last" : `${props.unit} ${props.writeX(x)}`;
  return `${place.charAt(0).toUpperCase()}${place.slice(1)}: ${said.join(", ")}`;
}

/** Without the percent sign, which stands once before it. */
function bare(written: string): string {
  return written.replace(/\s?%$/, "");
}

function horizontal(props: LineChartProps, width: number): Scale {
  const [, high = 1] = extent(props.lines.flatMap((l) => l.points.map((p) => p.x)));
  return scaleLinear([0, high || 1], [left(props), width - MARGIN.right]);
}

/** Where the axis begins: after the longest label beside it. */
function left(props: LineChartProps): number {
  const labels = vertical(props, 100).ticks(4).map(props.writeTick ?? props.write);
  return Math.max(MARGIN.left, 14 + Math.max(...labels.map(textWidth)));
}

/** Beside lines, few dots of single updates may lie above the axis: outliers would leave the lines little room. */
export function vertical({ lines, levels = [], domain }: Pick<LineChartProps, "lines" | "levels" | "domain">, height: number): Scale {
  const values = lines.flatMap((l) => {
    const all = l.points.map((p) => p.y);
    return l.kind === "steps" && lines.length > 1 ? lowest(all, MOST_STEPS) : all;
  });
  const [, high = 1] = extent([...values, ...levels.map((level) => level.value)]);
  return scaleLinear(domain ?? [0, (high || 1) * 1.04], [height - MARGIN.bottom, MARGIN.top]).clamp(true);
}

function lowest(values: readonly number[], part: number): number[] {
  return [...values].sort((a, b) => a - b).slice(0, Math.ceil(part * values.length));
}

/** A dot for each single update, without those above the axis: at its upper end, they would look like a plateau. */
export function stepDots(points: readonly Point[], x: Scale, y: Scale): string {
  const [, top = Number.POSITIVE_INFINITY] = y.domain();
  return points
    .filter((p) => p.y <= top)
    .map((p) => `M${x(p.x).toFixed(1)} ${y(p.y).toFixed(1)}h0`)
    .join("");
}

function Drawing(props: LineChartProps & { width: number; height: number; cursor: number | undefined }) {
  const { lines, levels = [], events = [], width, cursor } = props;
  const [x, y] = [horizontal(props, width), vertical(props, props.height)];
  const floor = props.height - MARGIN.bottom;
  const bottom = y.domain()[0] ?? 0;
  const start = x.range()[0] ?? 0;
  const writeTick = props.writeTick ?? props.write;
  const clear = levels.map((level) => y(level.value));
  return (
    <>
      {y.ticks(4).map((tick) => (
        <g>
          <line class={tick === bottom ? "axis" : "grid"} x1={start} x2={width - MARGIN.right} y1={y(tick)} y2={y(tick)} />
          <text x={start - 8} y={y(tick) + 4} text-anchor="end">
            {writeTick(tick)}
          </text>
        </g>
      ))}
      <HorizontalAxis scale={x} floor={floor} unit={props.unit} write={props.writeX} />
      {events.map((event) => (
        <g>
          <line class="grid" x1={x(event.x)} x2={x(event.x)} y1={MARGIN.top - 6} y2={floor} />
          <text class="small halo" x={x(event.x) + 4} y={eventLabelY(clear)}>
            {event.name}
          </text>
        </g>
      ))}
      {lines.map((l) => (
        <LineMarks line={l} x={x} y={y} />
      ))}
      <Levels levels={levels} y={y} start={start} width={width} />
      {lines
        .filter((l) => l.kind === "validation")
        .map((l) => (
          <Kept points={l.points} kept={props.kept} x={x} y={y} width={width} />
        ))}
      {cursor !== undefined && <Cursor {...props} x={x} y={y} at={cursor} floor={floor} />}
    </>
  );
}

/** Below the reference lines near the top, so that the two do not overlap. */
function eventLabelY(levels: number[]): number {
  let y = MARGIN.top + 4;
  for (const level of [...levels].sort((a, b) => a - b)) if (Math.abs(level - y) < 16) y = level + 18;
  return y;
}

export function HorizontalAxis(props: {
  scale: Scale;
  floor: number;
  unit: string;
  write: (value: number) => string;
}) {
  const [start = 0, end = 0] = props.scale.range();
  const ticks = props.scale.ticks(Math.max(2, Math.min(5, Math.floor((end - start) / 70))));
  return (
    <g>
      <text x={start - 8} y={props.floor + 17} text-anchor="end">
        {props.unit}
      </text>
      {ticks.map((tick) => (
        <g>
          <line class="axis" x1={props.scale(tick)} x2={props.scale(tick)} y1={props.floor} y2={props.floor + 4} />
          <text x={props.scale(tick)} y={props.floor + 17} text-anchor={props.scale(tick) > end - 12 ? "end" : "middle"}>
            {props.write(tick)}
          </text>
        </g>
      ))}
    </g>
  );
}


function LineMarks({ line: l, x, y }: { line: Line; x: Scale; y: Scale }) {
  if (l.kind === "steps") {
    return <path class="step-dots" d={stepDots(l.points, x, y)} />;
  }
  const banded = l.points.filter((p) => p.low != null && p.high != null);
  const band = areaPath(
    banded.map((p) => [x(p.x), y(p.high as number)]),
    banded.map((p) => [x(p.x), y(p.low as number)]),
  );
  const isFew = l.points.length <= 40;
  return (
    <g class={l.kind}>
      {l.kind === "validation" && banded.length > 1 && <path class="band" d={band} />}
      <path class="line" d={linePath(l.points.map((p) => [x(p.x), y(p.y)]))} />
      {(isFew || l.points.length === 1) &&
        l.kind === "validation" &&
        l.points.map((p) => <circle class="dot" cx={x(p.x)} cy={y(p.y)} r={3} />)}
      {l.kind === "training" &&
        l.points.length <= 6 &&
        l.points.map((p) => <circle class="dot" cx={x(p.x)} cy={y(p.y)} r={2.5} />)}
    </g>
  );
}

/** Reference lines, labelled at the right end: above the line, or below it where another label is in the way. */
function Levels({ levels, y, start, width }: { levels: Level[]; y: Scale; start: number; width: number }) {
  const sorted = [...levels].sort((a, b) => b.value - a.value);
  let last = Number.NEGATIVE_INFINITY;
  return (
    <>
      {sorted.map((level) => {
        const at = y(level.value);
        const label = at - 5 - last < 13 ? at + 14 : at - 5;
        last = label;
        return (
          <g>
            <line class="level" x1={start} x2={width - MARGIN.right} y1={at} y2={at} />
            <text class="level-label halo" x={width - MARGIN.right} y={label} text-anchor="end">
              {level.name}
            </text>
          </g>
        );
      })}
    </>
  );
}

function Kept(props: { points: Point[]; kept: number | null | undefined; x: Scale; y: Scale; width: number }) {
  const found = props.kept == null ? undefined : props.points.find((p) => p.x === props.kept);
  if (!found) return null;
  const [cx, cy] = [props.x(found.x), props.y(found.y)];
  const isAtEnd = cx > props.width - MARGIN.right - textWidth("kept") / 2;
  return (
    <g>
      <circle class="ring" cx={cx} cy={cy} r={7} />
      <text
        class="accent halo"
        x={isAtEnd ? props.width - 2 : cx}
        y={cy < 46 ? cy + 24 : cy - 14}
        text-anchor={isAtEnd ? "end" : "middle"}
      >
        kept
      </text>
    </g>
  );
}

function Cursor(props: LineChartProps & { x: Scale; y: Scale; at: number; floor: number }) {
  const { x, y, at, floor } = props;
  return (
    <g>
      <line class="cursor" x1={x(at)} x2={x(at)} y1={MARGIN.top - 6} y2={floor} />
      {props.lines
        .filter((l) => l.kind !== "steps" || props.lines.length === 1)
        .flatMap((l) => l.points.filter((p) => p.x === at).map((p) => ({ l, p })))
        .map(({ l, p }) => (
          <circle class={`cursor-dot ${l.kind}`} cx={x(p.x)} cy={y(p.y)} r={4.5} />
        ))}
    </g>
  );
}
