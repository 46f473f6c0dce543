import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

/** Depth on demand: what is folded is drawn when it is first opened, and then stays. Print shows it if it was open. */
export function Fold(props: { name: string; of?: string; class?: string; id?: string; children: ComponentChildren }) {
  const [wasOpened, setOpened] = useState(false);
  return (
    <details
      class={`fold ${props.class ?? ""}`}
      id={props.id}
      onToggle={(event) => event.currentTarget.open && setOpened(true)}
    >
      <summary>
        {props.name}
        {props.of && <span class="unseen">: {props.of}</span>}
      </summary>
      {wasOpened && props.children}
    </details>
  );
}
