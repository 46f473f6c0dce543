import assert from "node:assert/strict";
import { test } from "node:test";
import { hasModelOfTexts, isSingle, ourKinds } from "../src/models.ts";
import type { RunTrace } from "../src/trace.ts";

function run(values: { pretrain?: string | null; finetune?: string | null; scratch?: null; labels?: boolean; status?: string }): RunTrace {
  const phase = (objective: string | null | undefined) => (objective === undefined ? null : { objective });
  const stages = [{ name: "prepare", status: values.labels ? "finished" : "missing" }];
  const phases = { pretrain: phase(values.pretrain), finetune: phase(values.finetune), scratch: phase(values.scratch) };
  return { phases, stages, run: { status: values.status ?? "finished" } } as unknown as RunTrace;
}

test("the reader's own text is asked for where a model labels texts or fills in words", () => {
  assert.ok(hasModelOfTexts(run({ pretrain: null }))); // as before there were objectives
  assert.ok(hasModelOfTexts(run({ pretrain: "hybrid" })));
  assert.ok(hasModelOfTexts(run({ pretrain: "causal", finetune: null })));
  assert.ok(hasModelOfTexts(run({ scratch: null })));
});

test("it is asked for while such a model may come", () => {
  assert.ok(hasModelOfTexts(run({ status: "running" })));
  assert.ok(hasModelOfTexts(run({ pretrain: "causal", labels: true, status: "running" })));
});

test("it is not asked for where every answer would be a refusal", () => {
  assert.ok(!hasModelOfTexts(run({ finetune: "replies" })));
  assert.ok(!hasModelOfTexts(run({ finetune: "replies", labels: true, status: "running" })));
  assert.ok(!hasModelOfTexts(run({ pretrain: "causal" })));
  assert.ok(!hasModelOfTexts(run({ pretrain: "causal", status: "running" })));
  assert.ok(!hasModelOfTexts(run({}))); // the folder of a stage without a model
});

test("of the models of a student, only the student is the delivered one, and a single one has no number of seeds", () => {
  const models = ["tfidf", "pretrained", "averaged", "teacher", "student"].map((kind) => ({ kind }));
  assert.deepEqual(ourKinds(models), ["pretrained", "student"]);
  assert.deepEqual(ourKinds([...models, { kind: "stack" }]), ["pretrained", "stack"]);
  assert.deepEqual(ourKinds(models.slice(0, 2)), ["pretrained"]);
  assert.deepEqual(models.map(isSingle), [false, false, true, true, true]);
});
