import { scaleLinear } from "./scale.ts";
import { tickWriter } from "./ticks.ts";
import type { ComponentChildren } from "preact";

// Pictures within a line of a table: positions are percentages, so that they need no measuring.

const share = (value: number) => `${(100 * value).toFixed(2)}%`;

/** A value between 0 and 1 on its track, with a dotted mark for what a guess would reach. */
export function Glyph({ value, guess }: { value: number; guess: number | null }) {
  return (
    <svg class="glyph" aria-hidden="true">
      <line class="grid" x1="0" x2="100%" y1="50%" y2="50%" />
      {guess !== null && <line class="level" x1={share(guess)} x2={share(guess)} y1="2" y2="14" />}
      <circle class="accent-dot" cx={share(value)} cy="50%" r="3" />
    </svg>
  );
}

export interface Forest {
  place: (value: number) => number;
  ticks: number[];
}

/** One scale for all rows of a forest column; zero is always on it. */
export function forestScale(values: number[]): Forest {
  const scale = scaleLinear([Math.min(0, ...values), Math.max(0, ...values)], [0.04, 0.96]).nice(4);
  return { place: scale, ticks: scale.ticks(4) };
}

/** The axis above a forest column; `factor` is 100 for points. */
export function ForestAxis({ forest, factor }: { forest: Forest; factor: number }) {
  const write = tickWriter(forest.ticks, { factor, isSigned: true });
  return (
    <svg class="forest-axis" aria-hidden="true">
      {forest.ticks.map((tick) => (
        <text x={share(forest.place(tick))} y="12" text-anchor="middle">
          {write(tick)}
        </text>
      ))}
    </svg>
  );
}

/** A difference with its interval; hollow where zero lies within. */
export function ForestRow(props: { forest: Forest; value: number; low: number; high: number; isClear: boolean }) {
  const { forest, value, low, high } = props;
  const x = (at: number) => share(forest.place(at));
  return (
    <svg class={props.isClear ? "forest interval is-accent" : "forest interval"} aria-hidden="true">
      {forest.ticks.map((tick) => (
        <line class={tick === 0 ? "axis" : "grid"} x1={x(tick)} x2={x(tick)} y1="0" y2="100%" />
      ))}
      <line class="whisker" x1={x(low)} x2={x(high)} y1="50%" y2="50%" />
      {[low, high].map((end) => (
        <svg x={x(end)} y="50%" overflow="visible">
          <line class="cap" y1="-5" y2="5" />
        </svg>
      ))}
      <circle class={props.isClear ? "dot" : "dot is-hollow"} cx={x(value)} cy="50%" r="4.5" />
    </svg>
  );
}

/** A line without axes, from 0 to 1 in height, with a cursor. */
export function Sparkline({ values, at, children }: { values: (number | null)[]; at: number; children?: ComponentChildren }) {
  const last = Math.max(1, values.length - 1);
  const drawn = values
    .map((value, index) => (value === null ? null : `${(100 * index) / last} ${100 - 100 * value}`))
    .filter((point) => point !== null);
  const here = values[at];
  return (
    <svg class="spark" aria-hidden="true">
      <line class="grid" x1="0" x2="100%" y1="100%" y2="100%" />
      <svg viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">
        <polyline points={drawn.join(" ")} />
      </svg>
      <line class="spark-cursor" x1={share(at / last)} x2={share(at / last)} y1="-2" y2="100%" />
      {here != null && <circle class="accent-dot" cx={share(at / last)} cy={share(1 - here)} r="3.5" />}
      {children}
    </svg>
  );
}
