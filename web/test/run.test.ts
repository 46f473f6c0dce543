import assert from "node:assert/strict";
import { test } from "node:test";
import { cameOut, gainOf, howComputed } from "../src/run/index.tsx";
import type { Comparison, Phase, RunTrace } from "../src/trace.ts";

function compared(metric: string): Comparison {
  const models = [{ kind: "scratch", score: 0.75 }, { kind: "pretrained", score: 0.875 }];
  const verdict = { between: ["pretrained", "scratch"], metric, slice: null, difference: 0.1234 };
  return { metric: "accuracy", models, verdicts: [verdict] } as unknown as Comparison;
}

test("what pre-training added is said in the metric of the chart, and not in that of the verdict", () => {
  assert.deepEqual(gainOf(compared("accuracy")), { from: 0, to: 1, difference: 0.1234 });
  assert.deepEqual(gainOf(compared("macro_f1")), { from: 0, to: 1, difference: 0.125 });
  assert.equal(gainOf({ ...compared("accuracy"), models: [] }), null);
});

function traceOf(phases: object, comparison: object | null = null): RunTrace {
  return { phases: { pretrain: null, finetune: null, scratch: null, ...phases }, tokenizer: null, comparison } as unknown as RunTrace;
}

test("what is found is named by what is predicted", () => {
  const names = (unit: Phase["unit"]) => cameOut(traceOf({ pretrain: { unit, evaluations: [] } })).map(({ name }) => name);
  assert.ok(names("masked tokens").includes("Hidden tokens found"));
  assert.ok(names("next tokens").includes("Next tokens found"));
});

test("the test figure of what came out is that of the model as delivered", () => {
  const finetune = { metric: "accuracy", averaged_trials: [], trials: [], test: [{ seed: 0, score: 0.9, low: 0.88, high: 0.92 }] };
  const models = [{ kind: "pretrained", score: 0.9, low: 0.88, high: 0.92 }, { kind: "stack", score: 0.95, low: 0.93, high: 0.97 }];
  const value = (comparison: object | null) => cameOut(traceOf({ finetune }, comparison)).find(({ name }) => name === "Test accuracy")?.value;
  assert.equal(value(null), "90.0\u202f%");
  assert.equal(value({ metric: "accuracy", models: models.slice(0, 1) }), "90.0\u202f%");
  assert.equal(value({ metric: "accuracy", models }), "95.0\u202f%");
});

test("several processes are named with what each of them has", () => {
  const hardware = { threads: 2, device: "cpu", processes: 1 };
  assert.equal(howComputed(hardware), "two threads");
  assert.equal(howComputed({ ...hardware, processes: 3 }), "two threads in each of three processes");
  assert.equal(howComputed({ ...hardware, threads: null, device: "cuda", processes: 3 }), "cuda in three processes");
});
