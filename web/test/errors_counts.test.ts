import assert from "node:assert/strict";
import { test } from "node:test";
import { confusedPairs, confusionAt, recallAndPrecision, rightIn, totalOf, wilson } from "../src/errors/counts.ts";
import { mistakesNote } from "../src/errors/mistakes.tsx";
import { sliceSentence } from "../src/errors/slices.tsx";
import { entityCounts } from "../src/errors/task_errors.tsx";
import { Found } from "../src/prediction/view.tsx";
import type { PredictionTrace, SliceError, TestRow } from "../src/trace.ts";

test("the threshold decides, and a probability at it counts as the second class", () => {
  const probability = [0.1, 0.5, 0.5, 0.9];
  const label = [0, 0, 1, 1];
  assert.deepEqual(confusionAt(probability, label, 0.5), [[1, 1], [0, 2]]);
  assert.deepEqual(confusionAt(probability, label, 0.51), [[2, 0], [1, 1]]);
});

test("the list of mistakes is called what it is", () => {
  const row = (label: number, predicted: number) => ({ label, predicted }) as TestRow;
  const examples = [row(0, 1), row(1, 0), row(0, 1), row(1, 1)];
  assert.equal(mistakesNote({ confusion: [[8, 2], [1, 9]], examples }), "All wrong predictions, those with the highest probability first. Some of them may be wrong labels.");
  assert.equal(
    mistakesNote({ confusion: [[8, 9], [1, 9]], examples }),
    "Up to 2 of each kind of mistake (one class taken for another), the surest first. Some of them may be wrong labels.",
  );
  assert.equal(
    mistakesNote({ confusion: [[8, 9, 1], [1, 9, 1], [0, 0, 1]], examples: [row(0, 1), row(1, 0)] }),
    "The surest mistake of each of 2 kinds (one class taken for another). Some of them may be wrong labels.",
  );
});

test("of entities whose text is left out, no marks are described", () => {
  const entity = { start: 0, end: 0, type: "label 1" };
  assert.equal(entityCounts({ label: [entity, entity], predicted: [entity] }), "labelled entities: 2; predicted: 1");
  const prediction = { entities: [entity], word: { start: 0, end: 3 }, text: "Ada sat." } as unknown as PredictionTrace;
  assert.doesNotMatch(JSON.stringify(Found({ prediction, isRedacted: true })), /above|apart/);
  assert.match(JSON.stringify(Found({ prediction, isRedacted: false })), /marked above.*taken apart is/);
});

test("rows, right ones, recall and precision come from the matrix", () => {
  const confusion = [[8, 2], [1, 9]];
  assert.equal(totalOf(confusion), 20);
  assert.equal(rightIn(confusion), 17);
  assert.deepEqual(recallAndPrecision(confusion, 1), { recall: 0.9, precision: 9 / 11 });
  assert.deepEqual(recallAndPrecision([[0, 0], [0, 0]], 0), { recall: null, precision: null });
});

test("confused pairs leave out the diagonal and empty cells", () => {
  assert.deepEqual(confusedPairs([[5, 1, 0], [3, 5, 0], [0, 0, 9]]), [
    { label: 1, predicted: 0, count: 3 },
    { label: 0, predicted: 1, count: 1 },
  ]);
});

test("Wilson's interval stays within 0 and 1 and holds the fraction", () => {
  assert.deepEqual(wilson(0, 0), [0, 1]);
  const [low, high] = wilson(1987, 2000);
  assert.ok(Math.abs(low - 0.98891) < 1e-4 && Math.abs(high - 0.9962) < 1e-4, `${low} ${high}`);
});

test("intervals that overlap are not taken for a lack of a difference", () => {
  const sliceOf = (slice: string, low: number, wrong: number, high: number): SliceError => ({ slice, n: 100, wrong, low, high });
  const [easy, hard, hardest] = [sliceOf("easy", 0.05, 10, 0.15), sliceOf("hard", 0.14, 20, 0.26), sliceOf("hardest", 0.3, 40, 0.5)];
  assert.equal(sliceSentence([easy, hard]), "The intervals of all slices overlap; that alone does not tell whether slices differ.");
  assert.match(sliceSentence([easy, hard, hardest]) ?? "", /hardest.* is wrong in 40\.0.% of its rows.*easy.* in 10\.0.%; their intervals do not overlap/);
  assert.equal(sliceSentence([easy]), undefined);
});
