import type { ComponentChildren } from "preact";

import { Command } from "./command.tsx";
import { typeset } from "./format.ts";
import type { Missing, RunTrace } from "./trace.ts";

export interface Stop {
  id: string;
  number: number;
  /** in the rail */
  name: string;
  title: string;
}

export const STOPS: Stop[] = [
  { id: "run", number: 1, name: "The run", title: "The run in one screen" },
  { id: "flow", number: 2, name: "Data flow", title: "Data flow" },
  { id: "training", number: 3, name: "Training", title: "Training trace" },
  { id: "help", number: 4, name: "Did it help?", title: "Did pre-\u2060training help?" },
  { id: "prediction", number: 5, name: "One prediction", title: "One prediction, layer by layer" },
  { id: "errors", number: 6, name: "Errors", title: "Errors and calibration" },
  { id: "quiz", number: 7, name: "Quiz", title: "Quiz and practice" },
  { id: "insight", number: 8, name: "Key insight", title: "Key insight" },
  { id: "methods", number: 9, name: "Methods", title: "Methods" },
];

export function stop(id: string): Stop {
  return STOPS.find((candidate) => candidate.id === id) as Stop;
}

const OF_STRATEGIES: Record<string, Partial<Stop>> = {
  run: {},
  help: { name: "Which was best?", title: "Which strategy was best?" },
  methods: {},
};

/** The sections of a trace. A comparison of strategies has no data flow, training or predictions of its own. */
export function stopsOf({ strategies }: RunTrace): Stop[] {
  if (!strategies) return STOPS;
  return STOPS.filter(({ id }) => id in OF_STRATEGIES).map((each, place) => ({ ...each, number: place + 1, ...OF_STRATEGIES[each.id] }));
}

/** A section of the page, if the trace has it: its number and title, whether its data is synthetic, and what the run lacks for it. */
export function Section(props: { id: string; trace: RunTrace; children: ComponentChildren }) {
  const shown = stopsOf(props.trace).find((candidate) => candidate.id === props.id);
  if (!shown) return null;
  const { id, number, title } = shown;
  const missing = props.trace.missing.filter((part) => part.section === id);
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <header class="section-head">
        <h2 id={`${id}-title`}>
          <span class="section-number">{number}</span>
          {title}
        </h2>
        {props.trace.run.is_synthetic && <SyntheticMark />}
      </header>
      {props.children}
      {missing.map((part) => (
        <MissingPart part={part} />
      ))}
    </section>
  );
}

export function SyntheticMark({ long }: { long?: boolean }) {
  return <p class="synthetic">{long ? "Synthetic data, written by the built-in generator" : "Synthetic data"}</p>;
}

/** What the section is about, in large type. */
export function Lead({ children }: { children: ComponentChildren }) {
  return <p class="lead">{children}</p>;
}

/** Says that a section is empty, unless the document itself says why. */
export function NothingYet({ section, trace, sentence }: { section: string; trace: RunTrace; sentence: string }) {
  if (trace.missing.some((part) => part.section === section)) return null;
  return <p class="part-sentence">{sentence}</p>;
}

function MissingPart({ part }: { part: Missing }) {
  return (
    <div class="missing">
      <p>{typeset(part.sentence)}</p>
      {part.command && <Command text={part.command} />}
    </div>
  );
}

/** A part of a section, with a heading of its own. */
export function Part(props: { title: string; sentence?: ComponentChildren; id?: string; children: ComponentChildren }) {
  return (
    <div class="part" id={props.id}>
      <h3>{props.title}</h3>
      {props.sentence && <p class="part-sentence">{props.sentence}</p>}
      {props.children}
    </div>
  );
}
