import assert from "node:assert/strict";
import { test } from "node:test";
import { epochDecimals, epochs, eventsAt, longRows, lossSentence, scoreSentence, stepsShown } from "../src/training/charts.tsx";
import { shownPhases, summary } from "../src/training/index.tsx";
import { measuredOn } from "../src/training/table.tsx";
import { place } from "../src/training/watch.tsx";
import type { Phase, RunTrace } from "../src/trace.ts";

const UNIFORM = { id: "uniform", name: "ln V", meaning: "", value: 8.5 };
const BASE = { id: "base", name: "base", meaning: "", value: 4.1 };

function pretrained(values: Partial<Phase>): Pick<RunTrace, "phases"> {
  const evaluations = [{ step: 0, loss: 4.1, score: 0.1 }, { step: 200, loss: 3.2, score: 0.3 }];
  const pretrain = { stage: "pretrain", unit: "masked tokens", loss_references: [UNIFORM], evaluations, ...values };
  return { phases: { pretrain, finetune: null, scratch: null } } as unknown as RunTrace;
}

test("a base that is trained on begins where it stands, which is no loss that is off", () => {
  assert.match(summary(pretrained({ loss_references: [UNIFORM, BASE] })), /^The base begins at 4.10 nats, where a uniform guess has ln V = 8.50\. After 200 steps/);
  assert.match(summary(pretrained({})), /^Before training the loss was off: 4.10 nats, where/);
});

test("of a tuning on conversations, reply tokens are counted, and no texts or labels", () => {
  const row = { step: 120, epoch: 0.5, score: 0.412, n: 4321, is_best: false };
  const phase = { stage: "finetune", unit: "reply tokens", objective: "replies", metric: "accuracy", evaluations: [row], accuracy_references: [] } as unknown as Phase;
  assert.equal(summary({ phases: { pretrain: null, finetune: phase, scratch: null } }), "After 120 steps on conversations it predicts 41.2\u202f% of the held-out reply tokens.");
  assert.equal(measuredOn(phase, undefined), "of 4,321 reply tokens");
  assert.equal(scoreSentence(phase), "How many of the held-out reply tokens the model predicts.");
});

test("epochs of which little was read are written so that they differ", () => {
  assert.deepEqual([0, 0.005, 0.01, 0.015].map((epoch) => epochs(epoch, 0.018)), ["0", "0.005", "0.01", "0.015"]);
  assert.deepEqual([0, 0.5, 1, 1.25, 10].map((epoch) => epochs(epoch, 10)), ["0", "0.5", "1", "1.25", "10"]);
  assert.deepEqual([0, 1, 0.5, 0.04].map(epochDecimals), [2, 2, 3, 4]);
});

test("the figures of single updates are drawn only on the scale of validation", () => {
  const shown = (values: object) => {
    const phase = { objective: null, metric: "accuracy", evaluations: [{ weighted_loss: null }], ...values } as unknown as Phase;
    return (["loss", "score"] as const).filter((of) => stepsShown(phase, of));
  };
  assert.deepEqual(shown({}), ["loss", "score"]);
  assert.deepEqual(shown({ metric: "pearson" }), ["loss"]);
  assert.deepEqual(shown({ evaluations: [{ weighted_loss: 0.4 }] }), ["score"]); // by class
  assert.deepEqual(shown({ objective: "hybrid" }), []);
});

test("what is kept is said, and that nothing was chosen where there were too few rows for it", () => {
  const kept = (stopped: string, averaged_trials: number[], metric: string | null = null, values: object = {}) => {
    const evaluations = [{ epoch: 1, is_best: false }, { epoch: 2, is_best: true }];
    const rest = { steps: { epoch: [] }, accuracy_references: [], trials: [{ trial: 3, stopped, metric }], shown_trial: 3, averaged_trials };
    return scoreSentence({ stage: "finetune", metric: "accuracy", evaluations, ...rest, ...values } as unknown as Phase);
  };
  const last = "The last weights are kept, since there are too few validation rows to choose by";
  const chosen = "The checkpoint of epoch 2 is kept, the one with the";
  assert.equal(kept("patience", []), `${chosen} best validation accuracy.`);
  assert.equal(kept("patience", [], "macro_f1"), `${chosen} best validation macro-F1.`);
  assert.equal(kept("patience", [], null, { trials: [], objective: "replies" }), `${chosen} lowest loss on the validation replies.`);
  assert.equal(kept("updates", []), `${last}.`);
  assert.equal(kept("updates", [1, 2, 3]), `${last}; the mean of the weights of 3 seeds is delivered.`);
});

test("the loss of the mean of numbers is the one that is drawn", () => {
  const said = (loss_references: object[]) => lossSentence({ metric: "pearson", loss_references, evaluations: [] } as unknown as Phase);
  assert.equal(said([{ id: "prior", value: 0.62 }]), "Always predicting the mean of the training rows has a loss of 0.620 on the validation rows.");
  assert.match(said([]), /has a loss of about 1\.$/);
});

test("a loss within noise of the unigram entropy is not called below it", () => {
  const unigram = { id: "unigram", value: 6.1 };
  const rows = [{ step: 0, loss: 8.5, loss_error: 0.1, observations: [] }, { step: 50, loss: 6.0, observations: [] }, { step: 100, loss: 5.6, observations: [{ rule: "below unigram" }] }];
  const said = (evaluations: object[]) => lossSentence({ metric: "accuracy", loss_references: [unigram], evaluations } as unknown as Phase);
  assert.equal(said(rows), "By step 100 the loss is below what word frequencies alone give.");
  assert.equal(said(rows.slice(0, 2)), "So far the loss is not measurably below what word frequencies alone give.");
  assert.equal(said([{ ...rows[0], loss: 6.0 }]), "So far the loss is not measurably below what word frequencies alone give.");
  assert.equal(said([{ ...rows[0], loss: 4.1 }]), "From the start the loss is below what word frequencies alone give.");
});

test("the decay of the rate is marked only once it has been reached", () => {
  const phase = (evaluations: object[], step: number[], epoch: number[]) => ({ evaluations, steps: { step, epoch } }) as unknown as Phase;
  const drawn = phase([{ step: 0, epoch: 0 }, { step: 100, epoch: 1 }], [50, 120], [0.5, 1.2]);
  assert.deepEqual(eventsAt(drawn, 80, "falls"), [{ x: 0.8, name: "falls" }]);
  assert.deepEqual(eventsAt(drawn, 900, "falls"), []);
  assert.deepEqual(eventsAt(phase([{ step: 0, epoch: 0 }], [], []), 0, "falls"), []);
});

test("the folder of the control alone shows the control", () => {
  const scratch = { stage: "scratch", metric: "accuracy", objective: null, evaluations: [{ epoch: 2, step: 8, score: 0.5, is_best: true }] } as unknown as Phase;
  const finetune = { ...scratch, stage: "finetune" } as Phase;
  assert.deepEqual(shownPhases({ phases: { pretrain: null, finetune: null, scratch } }), [scratch]);
  assert.deepEqual(shownPhases({ phases: { pretrain: null, finetune, scratch } }), [finetune]);
  assert.match(summary({ phases: { pretrain: null, finetune: null, scratch } }), /^After two epochs on labels it is right on 50.0/);
});

test("the axis of another phase is mentioned only where there is one", () => {
  const phase = (loss_references: object[]) => ({ metric: "accuracy", loss_references, evaluations: [] }) as unknown as Phase;
  assert.deepEqual([lossSentence(phase([UNIFORM]), true), lossSentence(phase([]), true)], ["A guess costs 8.50 nats.", ""]);
  assert.equal(lossSentence(phase([UNIFORM])), "A guess costs 8.50 nats; the axis is not that of the other phase.");
});

test("the steps that are planned are counted, also before they are made", () => {
  const phase = (plan: object | null) => ({ plan, evaluations: [{ step: 0 }, { step: 400 }] }) as unknown as Phase;
  assert.equal(place(undefined, 400, phase({ steps: 1000 })), "step 400 of 1,000");
  assert.equal(place(undefined, 400, phase(null)), "step 400 of 400");
  assert.equal(place(undefined, 400, null), "step 400");
});

test("longer rows are named where there are some", () => {
  const plan = (long_start_step: number | null) => ({ plan: { steps: 2400, long_start_step } }) as unknown as Phase;
  assert.equal(longRows(plan(2160)), ", with longer rows after step 2,160");
  assert.equal(longRows(plan(2400)) + longRows(plan(null)) + longRows({ plan: null }), "");
});
