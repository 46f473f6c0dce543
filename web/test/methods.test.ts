import assert from "node:assert/strict";
import { test } from "node:test";
import { methodsOf } from "../src/methods/entries.ts";
import type { RunTrace } from "../src/trace.ts";

const METRICS = { classification: "accuracy", multilabel: "micro_f1", regression: "pearson", tokens: "entity_f1" };

/** As much of a trace as the methods are chosen by. */
function run(task: keyof typeof METRICS, more: Record<string, unknown> = {}, objective = "masked"): RunTrace {
  const metric = METRICS[task];
  return {
    run: { task, has_pairs: false },
    phases: { pretrain: { objective }, finetune: { objective: null, metric }, scratch: null },
    comparison: { metric, verdicts: [{ metric }] },
    predictions: [{ contributions_note: null }],
    errors: { calibration: [{}] },
    strategies: null,
    ...more,
  } as unknown as RunTrace;
}

function made(id: string, trace: RunTrace): string {
  return methodsOf(trace).find((entry) => entry.id === id)?.made ?? "";
}

test("each task has its own loss, intervals and baselines", () => {
  assert.match(made("loss", run("classification")), /per hidden token.* per text; ln K/);
  assert.match(made("loss", run("regression")), /squared error of the standardised numbers/);
  assert.match(made("interval", run("classification")), /Wilson.*McNemar.*Fisher.*as one group/);
  assert.match(made("interval", run("regression")), /bootstrap/);
  assert.doesNotMatch(made("interval", run("tokens")), /Wilson|McNemar/);
  assert.match(made("baselines", run("classification")), /NB-SVM/);
  assert.match(made("baselines", run("regression")), /^Ridge regression/);
  assert.match(made("baselines", run("tokens")), /perceptron/);
  const pairs = run("classification", { run: { task: "classification", has_pairs: true } });
  assert.match(made("baselines", pairs), /overlap/);
  assert.doesNotMatch(made("interval", pairs), /as one group/);
});

test("a loss of pre-training is explained only where there was one", () => {
  const without = (task: keyof typeof METRICS) => run(task, { phases: { pretrain: null, finetune: { objective: null, metric: METRICS[task] }, scratch: null } });
  assert.match(made("loss", without("classification")), /^Negative log-probability in nats\. In fine-tuning it is the mean per text/);
  assert.match(made("loss", without("regression")), /^In fine-tuning it is the squared error/);
  const care = (trace: RunTrace) => methodsOf(trace).find((entry) => entry.id === "loss")?.care ?? "";
  assert.match(care(run("classification")), /two tokenizers, or of the two phases/);
  assert.equal(care(without("classification")), "Only losses on the same rows can be compared.");
});

test("macro-F1 of imbalanced classes is compared by a bootstrap", () => {
  const trace = run("classification", { comparison: { metric: "accuracy", verdicts: [{ metric: "macro_f1" }] } });
  assert.match(made("interval", trace), /Wilson.*For macro-F1, from a bootstrap/);
});

test("a causal model hides no token", () => {
  const trace = run("classification", {}, "causal");
  assert.doesNotMatch(made("loss", trace) + made("watched", trace), /hidden/);
});

test("what the run does not show has no method", () => {
  const trace = run("regression", { predictions: [{ contributions_note: "why" }], errors: { calibration: [] } });
  assert.equal(made("contributions", trace) + made("calibration", trace), "");
});

test("a comparison of strategies has the methods of replies alone", () => {
  const trace = run("classification", { strategies: {} });
  assert.match(made("loss", trace), /per token of the held-out replies/);
  assert.deepEqual(methodsOf(trace).map(({ id }) => id), ["loss", "interval", "checks"]);
});
