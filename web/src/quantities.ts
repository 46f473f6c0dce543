import { count, shape } from "./format.ts";
import type { Quantity, Stage } from "./trace.ts";

/** What a stage took in or gave out, written: 60,000 documents. */
export function written({ name, value }: Quantity): string {
  const words = name.replaceAll("_", " ");
  if (typeof value === "string") return `${words}: ${value}`;
  if (typeof value !== "number") return `${words}: ${shape(value)}`;
  return `${count(value)} ${value === 1 ? singular(words) : words}`;
}

/** The first plural is the noun: files, tokens per row. The document has each name in the plural. */
function singular(words: string): string {
  return words.replace(/\b\w*[^\Ws]s\b/, (plural) =>
    plural.endsWith("ies") ? `${plural.slice(0, -3)}y` : plural.slice(0, /(?:sses|xes)$/.test(plural) ? -2 : -1),
  );
}

/** A count of a stage by its name; null where the stage does not state it. */
export function quantity(stage: Stage | undefined, side: "in" | "out", name: string): number | null {
  const list = (side === "in" ? stage?.shape_in : stage?.shape_out) ?? [];
  const found = list.find((candidate) => candidate.name.replaceAll("_", " ") === name)?.value;
  return typeof found === "number" ? found : null;
}
