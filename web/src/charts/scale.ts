import { nice, ticks } from "d3-array";

// Scales for numbers only: d3-scale would bring 30 kB of colours, dates and formats that no bundler can leave out.

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
    ticks: (count: number) => ticks(low, high, count),
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
