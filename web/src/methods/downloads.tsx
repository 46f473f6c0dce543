import type { RunTrace } from "../trace.ts";
import { trainingTable } from "./csv.ts";

/** The document and the training table, made in this browser. */
export function Downloads({ trace }: { trace: RunTrace }) {
  const name = trace.run.name.replace(/[^\p{L}\p{N}._-]+/gu, "-") || "run";
  return (
    <p class="actions">
      <button type="button" class="button" onClick={() => save(`${name}-trace.json`, "application/json", JSON.stringify(trace))}>
        Download the document, JSON
      </button>
      <button type="button" class="button" onClick={() => save(`${name}-training.csv`, "text/csv", trainingTable(trace))}>
        Download the training table, CSV
      </button>
    </p>
  );
}

function save(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
