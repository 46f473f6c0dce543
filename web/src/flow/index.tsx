import { Lead } from "../section.tsx";
import { count, duration, typeset } from "../format.ts";
import { quantity } from "../quantities.ts";
import { SegmentedBar } from "../charts/bars.tsx";
import { Figure } from "../charts/figure.tsx";
import type { RunTrace, Stage } from "../trace.ts";
import { Corpus } from "./corpus.tsx";
import { Ribbon } from "./ribbon.tsx";
import { Stop } from "./stop.tsx";

/** From raw text to a classifier in five stages, with one text carried through all of them. */
export function Flow({ trace }: { trace: RunTrace }) {
  const line = trace.stages.filter((stage) => stage.number !== null);
  const beside = trace.stages.filter((stage) => stage.number === null && stage.status !== "missing");
  if (line.length === 0) return null;
  return (
    <>
      <Lead>{summary(trace)}</Lead>
      <Ribbon trace={trace} stages={line} />
      <ol class="spine">
        {line.map((stage, index) => (
          <Stop key={stage.name} stage={stage} trace={trace} isLast={index === line.length - 1} />
        ))}
      </ol>
      {beside.length > 0 && <Beside stages={beside} />}
      <Times stages={trace.stages} />
      <Corpus trace={trace} />
    </>
  );
}

/** What became of the documents. */
export function summary(trace: Pick<RunTrace, "stages" | "phases" | "example">): string {
  const of = (name: string) => trace.stages.find((stage) => stage.name === name);
  const documents = quantity(of("collect"), "out", "documents");
  const train = quantity(of("preprocess"), "out", "train tokens");
  const tokens = train === null ? null : train + (quantity(of("preprocess"), "out", "validation tokens") ?? 0);
  const parameters = trace.phases.pretrain?.parameters;
  // What collect dropped is not among its documents.
  const dropped = (of("preprocess")?.dropped ?? []).reduce((sum, rule) => sum + rule.count, 0);
  const became = [
    tokens === null ? null : `${count(tokens)} tokens`,
    parameters == null ? null : `a model of ${count(parameters)} parameters`,
  ].filter((part) => part !== null);
  const sentences = [];
  if (documents !== null && became.length > 0) {
    const lost = dropped > 0 ? `; ${count(dropped)} ${dropped === 1 ? "document was" : "documents were"} dropped on the way` : "";
    sentences.push(`${count(documents)} documents became ${became.join(" and ")}${lost}.`);
  }
  if (trace.example?.text) sentences.push("One example text is carried through every stage.");
  return sentences.join(" ") || "What each stage took in, what it gave out, and what it dropped.";
}

const NAMES: Record<string, string> = {
  collect: "collecting",
  split: "the split of the labelled texts",
  preprocess: "preprocessing",
  pretrain: "pre-training",
  prepare: "preparing",
  finetune: "fine-tuning",
  scratch: "the control from scratch",
  compare: "the comparison",
};

function inWords(stage: Stage): string {
  return NAMES[stage.name] ?? stage.name;
}

/** The stages that are not part of the way of the text: the split of the labels, the control, the comparison. */
function Beside({ stages }: { stages: Stage[] }) {
  const timed = stages.filter((stage) => stage.seconds !== null);
  const parts = timed.map((stage) => `${inWords(stage)} took ${duration(stage.seconds ?? 0)}`);
  const running = stages.find((stage) => stage.status === "running");
  const sentence = parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : (parts[0] ?? "");
  return (
    <div class="beside">
      <p>Beside the line</p>
      <div>
        {sentence && <p>{sentence.charAt(0).toUpperCase() + sentence.slice(1)}.</p>}
        {running?.reached && <p>{typeset(running.reached)}</p>}
      </div>
    </div>
  );
}

function Times({ stages }: { stages: Stage[] }) {
  const timed = stages.filter((stage) => (stage.seconds ?? 0) > 0);
  if (timed.length < 2) return null;
  const total = timed.reduce((sum, stage) => sum + (stage.seconds ?? 0), 0);
  const longest = [...timed].sort((a, b) => (b.seconds ?? 0) - (a.seconds ?? 0)).slice(0, 2);
  const named = longest.map((stage) => `${duration(stage.seconds ?? 0)} were ${inWords(stage)}`);
  return (
    <Figure class="times" title="Where the time went" sentence={`Of ${duration(total)}, ${named.join(" and ")}.`}>
      <SegmentedBar
        segments={timed.map((stage) => ({
          name: stage.name,
          value: stage.seconds ?? 0,
          written: duration(stage.seconds ?? 0),
          isAccent: stage.name === "pretrain",
        }))}
      />
    </Figure>
  );
}

