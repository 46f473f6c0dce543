import type { ComponentChildren } from "preact";
import { Fragment } from "preact";

import { textWidth, useWidth } from "./figure.tsx";

export interface Bar {
  key?: string | number;
  name: ComponentChildren;
  /** between 0 and 1: how much of the track is filled */
  value: number;
  written: string;
  /** what the figure is about */
  isAccent?: boolean;
}

/** Horizontal bars with a name before and a number behind each. */
export function Bars({ bars, label }: { bars: Bar[]; label?: string }) {
  return (
    <ul class="bars" aria-label={label}>
      {bars.map((bar, index) => (
        <li class={bar.isAccent ? "is-accent" : undefined} key={bar.key ?? index}>
          <span class="bar-name">{bar.name}</span>
          <Track value={bar.value} />
          <span class="bar-value">{bar.written}</span>
        </li>
      ))}
    </ul>
  );
}

/** The track of one bar; its number stands beside it in words. */
export function Track({ value }: { value: number }) {
  const width = `${100 * Math.max(0, Math.min(1, value))}%`;
  return (
    <span class="track" aria-hidden="true">
      <i style={{ width }} />
    </span>
  );
}

export interface Segment {
  name: string;
  value: number;
  written: string;
  isAccent: boolean;
}

/** One bar in segments; those too short for a label are listed below. */
export function SegmentedBar({ segments }: { segments: Segment[] }) {
  const total = segments.reduce((sum, segment) => sum + segment.value, 0);
  const [host, width] = useWidth();
  const isWide = ({ name, value, written }: Segment) => (width * value) / total > textWidth(`${name} ${written}`) + 6;
  const short = segments.filter((segment) => !isWide(segment));
  return (
    <div class="segments" ref={host}>
      <div class="segments-bar">
        {segments.map((segment) => (
          <div class={segment.isAccent ? "is-accent" : undefined} style={{ flexGrow: segment.value }}>
            <i />
            {isWide(segment) && (
              <span>
                {segment.name} {segment.written}
              </span>
            )}
          </div>
        ))}
      </div>
      {short.length > 0 && (
        <p class="reading">
          Too short to be labelled: {short.map((segment) => `${segment.name} ${segment.written}`).join(", ")}
        </p>
      )}
    </div>
  );
}

export interface HistogramBin {
  name: string;
  value: number;
}

/** Bars side by side, with the range below each; the numbers are in the table of the figure. */
export function drawHistogram(bins: HistogramBin[], width: number, height: number) {
  const top = Math.max(1, ...bins.map((bin) => bin.value));
  const step = width / Math.max(1, bins.length);
  const floor = height - 26;
  const room = Math.max(...bins.map((bin) => bin.name.length)) * 6.2 + 4;
  const every = Math.ceil(room / step);
  return (
    <>
      {bins.map((bin, index) => {
        const size = ((floor - 16) * bin.value) / top;
        return (
          <Fragment>
            <rect class="bar" x={index * step + 1} width={Math.max(1, step - 2)} y={floor - size} height={size} />
            {index % every === 0 && (
              <text x={(index + 0.5) * step} y={floor + 16} text-anchor="middle">
                {bin.name}
              </text>
            )}
          </Fragment>
        );
      })}
      <line class="axis" x1={0} x2={width} y1={floor} y2={floor} />
    </>
  );
}
