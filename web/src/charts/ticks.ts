import { fixed, scientific, signed } from "../format.ts";
import { textWidth } from "./figure.tsx";

export interface TickOptions {
  /** by which a tick is multiplied: 100 for percent */
  factor?: number;
  /** whether what is above zero has a plus */
  isSigned?: boolean;
}

/** Writes the ticks of an axis, all with as many decimals as tell two neighbours apart: −0.5, 0.0, 0.5, 1.0. */
export function tickWriter(ticks: readonly number[], { factor = 1, isSigned = false }: TickOptions = {}): (tick: number) => string {
  const largest = Math.max(...ticks.map((tick) => Math.abs(factor * tick)));
  // An axis with a single tick has no distance: the tick itself says how fine it is.
  const distance = Math.abs(factor * ((ticks[1] ?? 0) - (ticks[0] ?? 0))) || largest || 1;
  const power = powerOf(distance);
  if (power < -4 || largest >= 1e9) return (tick) => scientific(factor * tick, 1 + powerOf(largest) - power);
  const decimals = Math.max(0, -power);
  return (tick) => (isSigned ? signed : fixed)(factor * tick, decimals);
}

/** Where an axis of ticks begins, behind their labels. */
export function behindLabels(ticks: readonly number[], write: (tick: number) => string, least: number): number {
  return Math.max(least, 8 + Math.max(...ticks.map((tick) => textWidth(write(tick)))));
}

/** The power of ten of the first digit; a difference of two ticks may lie a little below a round number. */
function powerOf(value: number): number {
  return Math.floor(Math.log10(value) + 1e-9);
}
