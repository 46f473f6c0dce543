import { capital, count, shape, THIN_SPACE } from "../format.ts";
import { quantity } from "../quantities.ts";
import type { RunTrace, Stage } from "../trace.ts";

/** What each stage hands on, in one line. */
export function Ribbon({ trace, stages }: { trace: RunTrace; stages: Stage[] }) {
  return (
    <ol class="ribbon" aria-label="What each stage hands on">
      {stages.map((stage) => {
        const [figure, words] = handedOn(trace, stage);
        return (
          <li class={stage.status === "finished" ? "is-finished" : undefined}>
            <span class="ribbon-stage">{capital(stage.name)}</span>
            <b>{figure}</b>
            <span>{words}</span>
          </li>
        );
      })}
    </ol>
  );
}

/** A figure and its unit in words. */
export function handedOn(trace: RunTrace, stage: Stage): [string, string] {
  if (stage.status !== "finished") return ["–", stage.status === "running" ? "not finished" : "not run"];
  const out = (name: string) => quantity(stage, "out", name);
  const sum = (unit: string) => ["train", "validation", "test"].reduce((total, split) => total + (out(`${split} ${unit}`) ?? 0), 0);
  switch (stage.name) {
    case "collect":
      return [count(out("documents") ?? 0), "documents"];
    case "preprocess": {
      const packed = trace.tokenizer?.views.find((view) => view.name === "packed") ?? trace.tokenizer?.views[0];
      if (packed) return [shape(packed.shape), packed.name === "packed" ? "token ids, packed" : "token ids"];
      return [count(out("train tokens") ?? 0), "training tokens"];
    }
    case "pretrain":
      return [count(out("parameters") ?? trace.phases.pretrain?.parameters ?? 0), "parameters"];
    case "prepare": {
      const isChat = out("train conversations") !== null;
      const tokens = out(isChat ? "tokens per conversation" : "tokens per row");
      const unit = isChat ? "conversations" : "labelled rows";
      return [count(sum(isChat ? unit : "rows")), tokens === null ? unit : `${unit} of ${count(tokens)} tokens`];
    }
    case "finetune": {
      const [made] = stage.shape_out;
      if (made?.name === "scores" || made?.name === "score") return ["1", "score per text"];
      if (typeof made?.value === "number" && PROBABILITIES.includes(made.name)) {
        return [`1${THIN_SPACE}×${THIN_SPACE}${count(made.value)}`, "probabilities per text"];
      }
      return firstFigure(stage);
    }
    default:
      return firstFigure(stage);
  }
}

/** The quantities that have a probability each; a model of conversations gives out none of them. */
const PROBABILITIES = ["classes", "labels"];

function firstFigure({ shape_out: [first] }: Stage): [string, string] {
  return typeof first?.value === "number" ? [count(first.value), first.name.replaceAll("_", " ")] : ["–", ""];
}
