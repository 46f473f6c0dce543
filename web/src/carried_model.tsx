import { useEffect, useState } from "preact/hooks";

import type { Engine, Parity } from "./engine/index.ts";
import { parity, readEngine } from "./engine/index.ts";
import { count, scientific } from "./format.ts";
import { Part } from "./section.tsx";
import type { RunTrace } from "./trace.ts";

/** The model that the file may carry; the page is drawn before it is read, since reading takes a moment. */
export type Carried = Engine | "unreadable" | null;

export function useCarriedModel(): Carried {
  const [carried, setCarried] = useState<Carried>(null);
  useEffect(() => {
    readEngine().then(setCarried, () => setCarried("unreadable"));
  }, []);
  return carried;
}

/** How close this browser comes to Python: the run's own examples, computed again. */
export function CarriedModel({ carried, trace }: { carried: Carried; trace: RunTrace }) {
  const [found, setFound] = useState<Parity | null>(null);
  useEffect(() => {
    if (carried !== null && carried !== "unreadable") parity(trace, carried).then(setFound, () => setFound(null));
  }, [carried]);
  if (carried === null) return null;
  if (carried === "unreadable") {
    return <Part title="The model in this file" sentence="The model in this file cannot be read; the file may be cut off.">{null}</Part>;
  }
  if (!carried.canTrace && trace.phases.finetune !== null) {
    return (
      <Part
        title="The model in this file"
        sentence="This file carries the pre-trained model, which fills in words. What the fine-tuned one predicts for a typed text is not computed in a file for this task, only for one class per text; pretune watch computes it for every task."
      >
        {null}
      </Part>
    );
  }
  return (
    <Part title="The model in this file" sentence={`This file carries the model itself: it computes in this browser, without a network. A wrongly decoded text, such as “Ã©” for “é”, is read as it is, where pretune repairs it. ${limitsOf(carried)}${inWords(found)}`}>
      {null}
    </Part>
  );
}

/** What pretune does and the model in this file does not. */
function limitsOf({ payload: { classifier } }: Engine): string {
  const stack = classifier?.hasStack
    ? "It is the network alone, without the linear models that pretune predict adds, so that it may give another label. "
    : "";
  const windows = classifier?.readsWindows
    ? "Of a text that is longer than the model reads at once it leaves out the middle, where pretune reads all of it in windows. "
    : "";
  return stack + windows;
}

function inWords(found: Parity | null): string {
  if (found === null) return "The examples of the run are being computed again.";
  if (found.n === 0) return "The file has no example to compare it with.";
  const texts = found.n === 1 ? "the one example" : `the ${count(found.n)} examples`;
  return `Computed again here, the probabilities of ${texts} of the run differ by at most ${scientific(found.largest)} from those that pretune wrote.`;
}
