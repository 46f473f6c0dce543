import { fixed, percent, THIN_SPACE } from "../format.ts";

/** A rate of errors: below 1 % with a second decimal, since good models differ there. */
export function rate(fraction: number): string {
  return percent(fraction, decimalsFor(fraction));
}

/** The ends of an interval of rates, with as many decimals as its larger end needs: 0.05 to 0.44 %. */
export function rateRange(low: number, high: number): string {
  const decimals = decimalsFor(high);
  return `${fixed(100 * low, decimals)} to ${fixed(100 * high, decimals)}${THIN_SPACE}%`;
}

function decimalsFor(fraction: number): number {
  return fraction > 0 && fraction < 0.01 ? 2 : 1;
}
