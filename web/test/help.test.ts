import assert from "node:assert/strict";
import { test } from "node:test";
import { summary } from "../src/help/index.tsx";
import type { Comparison, Verdict } from "../src/trace.ts";

function compared(...verdicts: Partial<Verdict>[]): Comparison {
  const found = { slice: null, metric: "accuracy", outcome: "better", difference: 0.1, low: 0.05, high: 0.15, p_value: 0.01 };
  return { metric: "accuracy", models: [], coverage: "", disagreements: [], verdicts: verdicts.map((each) => ({ ...found, ...each }) as Verdict) };
}

test("the sentence of a verdict that was left out is not shown", () => {
  const delivered = { between: ["stack", "nbsvm"], sentence: "▇" };
  assert.equal(summary(compared(delivered)), "That was not measured.");
  const control = { between: ["pretrained", "scratch"], sentence: "▇" };
  assert.match(summary(compared(control, delivered)), /^Yes: .*\)\.$/);
  assert.match(summary(compared(control, { ...delivered, sentence: "It is better." })), /\)\. It is better\.$/);
});
