import assert from "node:assert/strict";
import { test } from "node:test";
import { isRight, keyOf, knownMistake, mismatchOf, readNumber } from "../src/quiz/check.ts";
import { placeOf } from "../src/quiz/feedback.tsx";
import { unitOf } from "../src/quiz/unit.ts";
import type { Question } from "../src/trace.ts";

const QUESTION: Question = {
  id: "q",
  template: "t",
  level: "easy",
  concept: "softmax",
  kind: "number",
  prompt: "?",
  options: [],
  answer: 63.7,
  tolerance: 0.5,
  unit: "%",
  expression: ["mul", 100, ["at", "/p"]],
  pointers: ["/p"],
  hints: [],
  solution: [],
  mistakes: [],
  section: "prediction",
};
const CHOICE: Question = {
  ...QUESTION,
  kind: "choice",
  answer: null,
  expression: ["list", ["gt", ["at", "/p"], 0.5], ["le", ["at", "/p"], 0.5]],
  options: [
    { text: "above", value: null, is_right: true, why: "", misconception: null },
    { text: "below", value: null, is_right: false, why: "", misconception: null },
  ],
};

test("another question at the same place is not taken for the one before", () => {
  const [first, second] = CHOICE.options;
  const others = [{ template: "u" }, { prompt: "Which?" }, { id: "r" }, { options: [second!, first!] }];
  assert.equal(keyOf({ ...CHOICE }), keyOf({ ...CHOICE, pointers: [], hints: ["a"] }));
  assert.equal(new Set([CHOICE, ...others.map((other) => ({ ...CHOICE, ...other }))].map(keyOf)).size, 5);
});

test("a number that the document gives is no mismatch", () => {
  assert.equal(mismatchOf(QUESTION, { p: 0.637 }), null);
});

test("a number is a mismatch beyond a tenth of the tolerance", () => {
  assert.equal(mismatchOf(QUESTION, { p: 0.6374 }), null);
  assert.match(mismatchOf(QUESTION, { p: 0.6376 }) ?? "", /this browser computes/);
});

test("an expression without value is a mismatch and no crash", () => {
  assert.match(mismatchOf(QUESTION, {}) ?? "", /no value/);
});

test("the options of a choice must be what the document says", () => {
  assert.equal(mismatchOf(CHOICE, { p: 0.7 }), null);
  assert.match(mismatchOf(CHOICE, { p: 0.3 }) ?? "", /Option 1/);
});

test("a choice needs exactly one right option, even without an expression", () => {
  const two = CHOICE.options.map((option) => ({ ...option, is_right: true }));
  assert.equal(mismatchOf({ ...CHOICE, expression: null }, {}), null);
  assert.match(mismatchOf({ ...CHOICE, expression: null, options: two }, {}) ?? "", /2 are marked/);
});

test("numbers are read as people type them", () => {
  assert.equal(readNumber(" 63.7 % "), 63.7);
  assert.equal(readNumber("63,7"), 63.7);
  assert.equal(readNumber("1,234.5"), 1234.5);
  assert.equal(readNumber("1,234"), 1234);
  assert.equal(readNumber("0,125"), 0.125);
  assert.equal(readNumber("\u22120.5"), -0.5);
  assert.equal(readNumber(".5"), 0.5);
  assert.equal(readNumber("2e-7"), 2e-7);
  for (const typed of ["", "abc", "1 2 x", "0x10", "Infinity", "--1", "1.2.3"]) assert.equal(readNumber(typed), null);
});

test("an answer within the tolerance is right, its edge included", () => {
  assert.ok(isRight(QUESTION, { option: null, value: 64.2 }));
  assert.ok(!isRight(QUESTION, { option: null, value: 64.21 }));
  assert.ok(!isRight(QUESTION, { option: null, value: null }));
  assert.ok(isRight(CHOICE, { option: 0, value: null }));
  assert.ok(!isRight(CHOICE, { option: 1, value: null }));
});

test("a known wrong number is found within the tolerance, and a chosen option is its own mistake", () => {
  const known = { text: "", is_right: false, why: "the sigmoid", misconception: "one logit", value: 70 };
  const question = { ...QUESTION, options: [known] };
  assert.equal(knownMistake(question, { option: null, value: 70.4 })?.why, "the sigmoid");
  assert.equal(knownMistake(question, { option: null, value: 71 }), null);
  assert.equal(knownMistake(CHOICE, { option: 1, value: null })?.text, "below");
});

test("the unit brings the space before it, and a power of ten is written as one", () => {
  assert.equal(unitOf({ unit: "%" }), "\u202f%");
  assert.equal(unitOf({ unit: "points" }), " points");
  assert.equal(unitOf({ unit: null }), "");
  assert.equal(unitOf({ unit: "x 10^12" }), "\u202f\u00d7\u202f10\u00b9\u00b2");
});

test("a question about concepts has no place of the page to look at", () => {
  assert.equal(placeOf(QUESTION)?.id, "prediction");
  assert.equal(placeOf({ ...QUESTION, expression: null, section: "methods" }), undefined);
});
