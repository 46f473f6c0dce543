import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { Fold } from "../fold.tsx";

export interface FigureProps {
  title: string;
  /** one plain sentence */
  sentence?: ComponentChildren;
  /** beside the title: a key or a switch */
  aside?: ComponentChildren;
  /** the numbers behind the picture */
  table?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}

/** A chart with its title, its sentence, and a table behind it. */
export function Figure({ title, sentence, aside, table, children, ...rest }: FigureProps) {
  return (
    <figure class={rest.class}>
      <figcaption>
        <b>{title}</b>
        {sentence && <span>{sentence}</span>}
        {aside}
      </figcaption>
      {children}
      {table && (
        <Fold name="Table" of={title}>
          {table}
        </Fold>
      )}
    </figure>
  );
}

export interface Column<Row> {
  name: string;
  value: (row: Row, index: number) => ComponentChildren;
  /** numbers stand to the right */
  isNumber?: boolean;
}

/** A table with a caption for screen readers; the first cell of a row is its head. */
export function Table<Row>(props: { caption: string; columns: Column<Row>[]; rows: Row[]; class?: string }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={props.caption}>
      <table class={props.class ?? "small"}>
        <caption class="unseen">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th scope="col" class={column.isNumber ? "number" : undefined}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row, index) => (
            <tr>
              {props.columns.map((column, place) =>
                place === 0 ? (
                  <th scope="row" class={column.isNumber ? "number" : undefined}>
                    {column.value(row, index)}
                  </th>
                ) : (
                  <td class={column.isNumber ? "number" : undefined}>{column.value(row, index)}</td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Printing lays the page out anew, so that charts are measured again at the width of the paper. */
const printing = new Set<() => void>();
if (typeof window !== "undefined") {
  const layOut = (isPrinting: boolean) => () => {
    document.documentElement.classList.toggle("printing", isPrinting);
    for (const measure of printing) measure();
  };
  window.addEventListener("beforeprint", layOut(true));
  window.addEventListener("afterprint", layOut(false));
}

/** The width of an element, in units of which 16 are the size of the page's text; 0 before it is known. */
export function useWidth(): [RefObject<HTMLDivElement | null>, number] {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const measure = () => {
      const unit = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
      setWidth(Math.round(element.clientWidth / unit));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    printing.add(measure);
    return () => {
      observer.disconnect();
      printing.delete(measure);
    };
  }, []);
  return [host, width];
}

/** Draws into an SVG at the width of its host. */
export function Plot(props: {
  height: number | ((width: number) => number);
  draw: (width: number, height: number) => ComponentChildren;
  /** what a screen reader says of the picture; left out where a table beside it says the same */
  label?: string;
  class?: string;
}) {
  const [host, width] = useWidth();
  const height = typeof props.height === "number" ? props.height : props.height(width);
  return (
    <div ref={host} class={`plot ${props.class ?? ""}`}>
      {width > 0 && (
        <svg
          viewBox={`0 0 ${width} ${height}`}
          role={props.label ? "img" : undefined}
          aria-label={props.label}
          aria-hidden={props.label ? undefined : true}
        >
          {props.draw(width, height)}
        </svg>
      )}
    </div>
  );
}

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/g; // Chinese, Japanese, Korean

/** About how wide a text of 12 px is; characters beyond U+FFFF, which are wide, too, count twice as it is. */
export function textWidth(text: string): number {
  return 6.5 * (text.length + (text.match(WIDE)?.length ?? 0));
}

/** A text cut to a width, with an ellipsis. */
export function fitted(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let shown = "";
  for (const character of text) {
    if (textWidth(`${shown}${character}…`) > width) break;
    shown += character;
  }
  return `${shown}…`;
}
