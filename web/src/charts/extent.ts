/** The smallest value of the items; undefined where there are none. */
export function min<T>(items: readonly T[], value: (item: T) => number = Number): number | undefined {
  return extreme(items, value, (a, b) => a < b);
}

/** The largest value of the items; undefined where there are none. */
export function max<T>(items: readonly T[], value: (item: T) => number = Number): number | undefined {
  return extreme(items, value, (a, b) => a > b);
}

/** Smallest and largest value. */
export function extent(items: readonly number[]): [number, number] | [undefined, undefined] {
  return [min(items), max(items)] as [number, number];
}

// Math.min(...items) would fail for more items than a call takes arguments.
function extreme<T>(items: readonly T[], value: (item: T) => number, isBeyond: (a: number, b: number) => boolean) {
  let found: number | undefined;
  for (const item of items) {
    const candidate = value(item);
    if (found === undefined || isBeyond(candidate, found)) found = candidate;
  }
  return found;
}
