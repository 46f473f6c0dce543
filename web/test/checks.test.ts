import assert from "node:assert/strict";
import { test } from "node:test";
import { shownChecks } from "../src/checks.ts";
import type { RunTrace } from "../src/trace.ts";

/** As much of a document as the checks read: one prediction, a confusion matrix, one observation. */
function document(): RunTrace {
  const check = (id: string) => ({ id, name: id, sentence: "It holds.", is_ok: true, value: 0, tolerance: 1e-4, in_browser: true, pointers: [] });
  const prediction = {
    label_names: ["no", "yes"],
    head: { pooled: [1, 2], weight: [[1, 0], [0, 1]], bias: [0.5, -1], logits: [1.5, 1] },
    decision: { probabilities: [0.622459, 0.377541], label: "no", index: 0, probability: 0.622459, margin: 0.244919, flip: null },
    reasons: { score: 0.5, masked_score: 0.1, integrated_gradients: [0.3, 0.1], completeness_error: 0, is_converged: true },
  };
  const observation = {
    rule: "change",
    sentence: "loss fell 1",
    numbers: { fall: 1 },
    derivations: { fall: ["sub", ["at", "/phases/pretrain/evaluations/0/loss"], ["at", "/phases/pretrain/evaluations/1/loss"]] },
    pointers: ["/phases/pretrain/evaluations/1"],
  };
  return {
    checks: ["I05", "I06", "I07", "I09", "I12", "I17", "I99"].map(check),
    predictions: [prediction],
    errors: { n: 4, seed: 0, confusion: [[2, 1], [0, 1]] },
    phases: {
      pretrain: { evaluations: [{ loss: 3, observations: [] }, { loss: 2, observations: [observation] }] },
      finetune: { evaluations: [], test: [{ seed: 0, score: 0.75, accuracy: 0.75 }] },
      scratch: null,
    },
    insights: [],
  } as unknown as RunTrace;
}

const failing = (trace: RunTrace) => shownChecks(trace).filter((shown) => !shown.isOk).map((shown) => shown.check.id);

test("all checks hold, and all but an unknown one are computed again", () => {
  const shown = shownChecks(document());
  assert.deepEqual(failing(document()), []);
  assert.deepEqual(shown.filter((each) => each.recomputed === null).map((each) => each.check.id), ["I99"]);
});

for (const [id, name, harm] of [
  ["I05", "a logit that is not the sum", (t) => { t.predictions[0]!.head.logits[0] = 1.6; t.predictions[0]!.decision.probabilities = [0.645656, 0.354344]; }],
  ["I06", "a probability that is not the softmax", (t) => { t.predictions[0]!.decision.probabilities = [0.7, 0.3]; }],
  ["I07", "a label that is not the likeliest", (t) => { t.predictions[0]!.decision.label = "yes"; }],
  ["I09", "attributions that miss the score", (t) => { t.predictions[0]!.reasons!.integrated_gradients[0] = 0.4; }],
  ["I12", "a matrix that lacks a row", (t) => { t.errors!.n = 5; }],
  ["I12", "an accuracy that is not that of the matrix", (t) => { t.phases.finetune!.test[0]!.score = 0.8; }],
  ["I17", "a number that does not follow", (t) => { t.phases.pretrain!.evaluations[1]!.observations[0]!.numbers.fall = 2; }],
  ["I17", "a pointer to nothing", (t) => { t.phases.pretrain!.evaluations[1]!.observations[0]!.pointers = ["/phases/none"]; }],
] as [string, string, (trace: RunTrace) => void][]) {
  test(`${id} fails for ${name}, and says that the document differs`, () => {
    const trace = document();
    harm(trace);
    assert.deepEqual(failing(trace), [id]);
    const shown = shownChecks(trace).find((each) => each.check.id === id);
    assert.match(shown?.sentence ?? "", /computed in this browser it does not hold/);
  });
}

test("a difference that is rounded to six digits follows from its terms", () => {
  const trace = document();
  const [before, after] = trace.phases.pretrain!.evaluations;
  [before!.loss, after!.loss, after!.observations[0]!.numbers.fall] = [1.78652, 0.440662, 1.34586];
  assert.deepEqual(failing(trace), []);
});

test("a check that the document calls failing stays failing", () => {
  const trace = document();
  trace.checks[0]!.is_ok = false;
  assert.deepEqual(failing(trace), ["I05"]);
});

test("without predictions nothing is computed again from them", () => {
  const trace = { ...document(), predictions: [] };
  const again = shownChecks(trace).filter((each) => each.recomputed !== null).map((each) => each.check.id);
  assert.deepEqual(again, ["I12", "I17"]);
});

/** The document with another task: what its predictions and errors have. */
function ofTask(task: string, decision: object, rest: object, errors: object, score: number): RunTrace {
  const trace = document();
  Object.assign(trace.predictions[0]!, { task, reasons: null, ...rest });
  Object.assign(trace.predictions[0]!.decision, decision);
  trace.errors = { n: 4, seed: 0, confusion: [], ...errors } as never;
  trace.phases.finetune!.test = [{ seed: 0, n: 4, score }] as never;
  return trace;
}

const probabilities = [0.817574, 0.731059]; // the sigmoids of 1.5 and 1
const labels = () =>
  ofTask("multilabel", { probabilities, thresholds: [0.9, 0.5], labels: ["yes"] }, {}, { label_sets: { micro_f1: 0.5 } }, 0.5);
const number = () =>
  ofTask(
    "regression",
    { probabilities: [], label: "4", score: 4, mean: 1, deviation: 2 },
    { readouts: [{ label: "3" }, { label: "4" }] },
    { scores: { pearson: 0.25 } },
    0.25,
  );

for (const [name, make] of [["several labels", labels], ["a number", number]] as const) {
  test(`all checks hold for ${name}`, () => assert.deepEqual(failing(make()), []));
  test(`another metric in the test than in the errors fails for ${name}`, () => {
    const trace = make();
    trace.phases.finetune!.test[0]!.score += 0.01;
    assert.deepEqual(failing(trace), ["I12"]);
  });
}

test("a label that does not reach its threshold fails", () => {
  const trace = labels();
  trace.predictions[0]!.decision.labels = ["no", "yes"];
  assert.deepEqual(failing(trace), ["I07"]);
});

test("what is wrong with a prediction is said in the words of its task", () => {
  const sentence = (trace: RunTrace) => shownChecks(trace).find((each) => each.check.id === "I07")?.recomputed?.sentence;
  assert.equal(sentence(labels()), "0 of 1 predictions have other labels than those that reach their thresholds");
  assert.equal(sentence(number()), "0 of 1 predictions have another number than the one read out after the last layer");
});

test("a softmax where sigmoids belong fails", () => {
  const trace = labels();
  trace.predictions[0]!.decision.probabilities = [0.62, 0.38];
  assert.deepEqual(failing(trace), ["I06", "I07"]);
});

test("a number that is not its output in units of the file fails", () => {
  const trace = number();
  trace.predictions[0]!.decision.score = 4.1;
  assert.deepEqual(failing(trace), ["I06"]);
});

test("a number in a small unit fails as well", () => {
  const trace = number();
  Object.assign(trace.predictions[0]!.decision, { score: 0.0275, mean: 0.02, deviation: 0.005 });
  assert.deepEqual(failing(trace), []);
  trace.predictions[0]!.decision.score = 0.028;
  assert.deepEqual(failing(trace), ["I06"]);
});

/** A number with attributions that miss its change of 200 by 10 % of this change. */
function explained(deviation: number): RunTrace {
  const trace = number();
  Object.assign(trace.predictions[0]!.decision, { score: 1 + 1.5 * deviation, deviation });
  const missed = { score: 400, masked_score: 200, integrated_gradients: [100, 120], completeness_error: 20, is_converged: true };
  trace.predictions[0]!.reasons = missed as never;
  return trace;
}

test("whether the attributions of a number converged depends on the deviation of the numbers", () => {
  assert.deepEqual(failing(explained(10)), ["I09"]);
  assert.deepEqual(failing(explained(2000)), []); // a hundredth of it is 20
});

test("of a small number of a wide distribution only as many digits must hold as the document has of its parts", () => {
  const trace = number();
  Object.assign(trace.predictions[0]!.decision, { score: 19.87, mean: 12345.7, deviation: 98765.4 });
  trace.predictions[0]!.head = { pooled: [1, 2], weight: [[1, 0]], bias: [-1.1248], logits: [-0.1248] };
  assert.deepEqual(failing(trace), []);
});
