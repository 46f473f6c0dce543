// Straight lines only: d3-shape would bring 20 kB of curves and stacks that no bundler can leave out.

export type Place = [x: number, y: number];

/** The path of a line through places; "M1 2L3 4". */
export function linePath(places: Place[]): string {
  return places.length === 0 ? "" : `M${places.map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}`;
}

/** The path around the area between an upper and a lower line. */
export function areaPath(upper: Place[], lower: Place[]): string {
  return upper.length === 0 ? "" : `${linePath([...upper, ...lower.toReversed()])}Z`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
