import type { ComponentChildren } from "preact";

/** One of the five layers on the spine: number, title, a sentence, a check line, and the figures beside them. */
export function Stop(props: {
  number: number;
  title: string;
  note: ComponentChildren;
  check?: ComponentChildren;
  isLast?: boolean;
  children: ComponentChildren;
}) {
  return (
    <div class="stop">
      <div class={props.isLast ? "node is-end" : "node"} aria-hidden="true">
        {props.number}
      </div>
      <div class="stop-head">
        <h3>{props.title}</h3>
        <p class="stop-note">{props.note}</p>
        {props.check}
      </div>
      <div class="stop-body">{props.children}</div>
    </div>
  );
}

/** A check that this browser made; one that fails is red and says so in words. */
export function Holds({ isOk, children }: { isOk: boolean; children: ComponentChildren }) {
  return (
    <p class={isOk ? "holds" : "holds bad"}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        <path d={isOk ? "M1.5 6.5 4.5 9.5 10.5 2.5" : "M2 2 10 10M10 2 2 10"} />
      </svg>
      <span>
        {!isOk && <b>Fails: </b>}
        {children}
      </span>
    </p>
  );
}
