import type { Evaluation, RunTrace } from "../trace.ts";

const COLUMNS = [
  "epoch",
  "step",
  "tokens",
  "train_loss",
  "train_accuracy",
  "loss",
  "accuracy",
  "accuracy_low",
  "accuracy_high",
  "score",
  "score_low",
  "score_high",
  "n",
  "macro_f1",
  "elapsed_seconds",
  "is_best",
  "summary",
] as const satisfies (keyof Evaluation)[];

/** One row for each evaluation of each phase, as comma-separated values (RFC 4180). */
export function trainingTable(trace: RunTrace): string {
  const { pretrain, finetune, scratch } = trace.phases;
  const rows = [pretrain, finetune, scratch].flatMap((phase) =>
    phase === null ? [] : phase.evaluations.map((row) => [phase.stage, ...COLUMNS.map((column) => row[column])]),
  );
  return [["phase", ...COLUMNS], ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** A text that a spreadsheet would take for a formula begins with an apostrophe. */
export function cell(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
