// Section 5: one prediction, layer by layer.
import { useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";

import { capital, counted } from "../format.ts";
import { hasModelOfTexts } from "../models.ts";
import type { Oracle } from "../oracle.ts";
import { Lead } from "../section.tsx";
import type { PredictionTrace, RunTrace } from "../trace.ts";
import { FillPanel } from "./fill.tsx";
import "./prediction.css";
import { nothingTyped, type Typed, TypedPanel } from "./typed.tsx";
import { PredictionView } from "./view.tsx";

interface Tab {
  id: string;
  name: string;
  note: string;
  panel: () => ComponentChildren;
}

export function Prediction({ trace, oracle }: { trace: RunTrace; oracle: Oracle | null }) {
  const typed = useRef(nothingTyped());
  const tabs = tabsOf(trace, oracle, typed.current);
  // What the reader chose, or began to use: on a live page other tabs may come to stand before it.
  const [chosen, setChosen] = useState<string | null>(null);
  const tab = tabs.find(({ id }) => id === chosen) ?? tabs[0];
  if (!tab) {
    const isExplained = trace.missing.some(({ section }) => section === "prediction");
    return isExplained ? null : <p class="note">This run has no traced prediction.</p>;
  }
  return (
    <div class="prediction">
      <Lead>
        {trace.predictions.length === 0 && trace.fills.length > 0
          ? "From a text with a hidden word to the likeliest words for it."
          : "From text to decision in five layers, with the sums carried out again in this browser."}
      </Lead>
      <TabList tabs={tabs} chosen={tab.id} onChoose={setChosen} />
      <div
        role="tabpanel"
        id="prediction-panel"
        aria-labelledby={`prediction-tab-${tab.id}`}
        key={tab.id}
        onFocusIn={() => setChosen(tab.id)}
      >
        {tab.panel()}
      </div>
    </div>
  );
}

const NOTES: Record<string, string> = {
  typical: "test, typical",
  borderline: "test, nearly undecided",
  wrong: "test, surely wrong",
  example: "the carried example",
  typed: "typed",
};
const NAMES: Record<string, string> = { example: "Example", typed: "Typed" };

function tabsOf(trace: RunTrace, oracle: Oracle | null, typed: Typed): Tab[] {
  const tabs = trace.predictions.map((prediction, index) => predictionTab(prediction, index, trace));
  if (trace.fills.length > 0) {
    const note = counted(trace.fills.length, "sentence");
    tabs.push({ id: "fill", name: "A hidden word", note, panel: () => <FillPanel fills={trace.fills} isRedacted={trace.is_redacted} /> });
  }
  if (oracle && hasModelOfTexts(trace)) {
    const panel = () => <TypedPanel oracle={oracle} kept={typed} hasPairs={trace.run.has_pairs} />;
    tabs.push({ id: "typed", name: "Your own text", note: oracle.place, panel });
  }
  return tabs;
}

function predictionTab(prediction: PredictionTrace, index: number, trace: RunTrace): Tab {
  const { why } = prediction;
  const same = trace.predictions.filter((other) => other.why === why);
  const number = same.length > 1 ? ` ${same.indexOf(prediction) + 1}` : "";
  return {
    id: `${index}`,
    name: `${NAMES[why] ?? capital(why)}${number}`,
    note: NOTES[why] ?? why,
    panel: () => <PredictionView key={prediction.id + prediction.text} prediction={prediction} isRedacted={trace.is_redacted} />,
  };
}

/** A row of tabs of which one is in the order of Tab; the arrow keys move and choose. */
function TabList({ tabs, chosen, onChoose }: { tabs: Tab[]; chosen: string; onChoose: (id: string) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const at = tabs.findIndex(({ id }) => id === chosen);
  const move = (event: KeyboardEvent) => {
    const targets: Record<string, number> = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    const target = targets[event.key];
    const tab = target === undefined ? undefined : tabs[target];
    if (!tab) return;
    event.preventDefault();
    onChoose(tab.id);
    host.current?.querySelectorAll<HTMLButtonElement>("[role=tab]")[target!]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Example" ref={host} onKeyDown={move}>
      {tabs.map((tab) => (
        <button
          type="button"
          role="tab"
          id={`prediction-tab-${tab.id}`}
          aria-controls="prediction-panel"
          aria-selected={tab.id === chosen}
          tabIndex={tab.id === chosen ? 0 : -1}
          onClick={() => onChoose(tab.id)}
        >
          {tab.name}
          <small>{tab.note}</small>
        </button>
      ))}
    </div>
  );
}
