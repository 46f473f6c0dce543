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
function handedOn(trace: RunTrace, stage: Stage): [string, string] {
  if (stage.status !== "finished") return ["–", stage.status === "running" ? "still running" : "not run"];
  const out = (name: string) => quantity(stage, "out", name);
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
      const rows = ["train rows", "validation rows", "test rows"].reduce((sum, name) => sum + (out(name) ?? 0), 0);
      const tokens = out("tokens per row");
      return [count(rows), tokens === null ? "labelled rows" : `labelled rows of ${count(tokens)} tokens`];
    }
    case "finetune": {
      const made = stage.shape_out[0];
      const outputs = typeof made?.value === "number" ? made.value : 0;
      if (made?.name === "score") return ["1", "score per text"];
      if (made?.name === "entity types") return [count(outputs), "entity types"];
      return [`1${THIN_SPACE}×${THIN_SPACE}${count(outputs)}`, "probabilities per text"];
    }
    default: {
      const first = stage.shape_out[0];
      return typeof first?.value === "number" ? [count(first.value), first.name.replaceAll("_", " ")] : ["–", ""];
    }
  }
}
