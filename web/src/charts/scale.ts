// Scales for numbers only: d3-scale would bring 34 kB of colours, dates and formats that no bundler can leave out.

/** Maps a domain of values to a range of places. */
export interface Scale {
  (value: number): number;
  invert(place: number): number;
  /** about so many round values within the domain */
  ticks(count: number): number[];
  domain(): [number, number];
  range(): [number, number];
  /** the same with the ends of the domain at round values */
  nice(count: number): Scale;
  /** the same, but nothing lies outside of the range */
  clamp(isClamped: boolean): Scale;
}

type Ends = readonly [number, number] | readonly number[];

/** A scale on which equal differences are equally far apart. A domain of one value has its place in the middle. */
export function scaleLinear(domain: Ends, range: Ends, isClamped = false): Scale {
  const [low = 0, high = 1] = domain;
  const [start = 0, end = 1] = range;
  const place = (value: number) => {
    const part = high === low ? 0.5 : (value - low) / (high - low);
    return start + (isClamped ? Math.max(0, Math.min(1, part)) : part) * (end - start);
  };
  return Object.assign(place, {
    invert: (at: number) => low + ((at - start) / (end - start || 1)) * (high - low),
    ticks: (count: number) => ticks(low, high, count, true),
    domain: (): [number, number] => [low, high],
    range: (): [number, number] => [start, end],
    nice: (count: number) => scaleLinear(nice(low, high, count), range, isClamped),
    clamp: (is: boolean) => scaleLinear(domain, range, is),
  });
}

/** A scale on which equal ratios are equally far apart; the domain is above zero. */
export function scaleLog(domain: Ends, range: Ends): (value: number) => number {
  return (value) => scaleLinear(domain.map(Math.log), range)(Math.log(value));
}

/** A factor, and from which part of a power of ten on it is the nearest one. */
const FACTORS: [number, number][] = [
  [10, Math.sqrt(50)],
  [5, Math.sqrt(10)],
  [2, Math.sqrt(2)],
];

/** Multiples of 1, 2 or 5 times a power of ten: those within the ends, or with one beyond each end. */
function ticks(low: number, high: number, count: number, isWithin: boolean): number[] {
  if (!(high > low) || !(count > 0)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = FACTORS.find(([, least]) => rough / power >= least)?.[0] ?? 1;
  const step = factor * power;
  // 3 / 10 is the number that is written 0.3, and 3 * 0.1 is not.
  const multiple = (index: number) => (step < 1 ? index / Math.round(1 / step) : index * step);
  const slack = 1e-9;
  const first = isWithin ? Math.ceil(low / step - slack) : Math.floor(low / step + slack);
  const last = isWithin ? Math.floor(high / step + slack) : Math.ceil(high / step - slack);
  return Array.from({ length: last - first + 1 }, (_, index) => multiple(first + index));
}

function nice(low: number, high: number, count: number): [number, number] {
  const found = ticks(low, high, count, false);
  return [found[0] ?? low, found.at(-1) ?? high];
}
