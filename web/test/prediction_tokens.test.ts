import assert from "node:assert/strict";
import { test } from "node:test";
import { chipAfter } from "../src/prediction/tokens.tsx";

test("arrow keys move within the tokens that are shown", () => {
  assert.deepEqual(["ArrowLeft", "ArrowRight", "Home", "End", "a"].map((key) => chipAfter(key, 5, 120)), [4, 6, 0, 119, null]);
  assert.equal(chipAfter("ArrowLeft", 0, 120), null);
  assert.equal(chipAfter("ArrowRight", 119, 120), null);
});

test("they move from the last one shown where the selected token is not", () => {
  assert.deepEqual(["ArrowLeft", "ArrowRight", "Home"].map((key) => chipAfter(key, 300, 120)), [118, null, 0]);
});
