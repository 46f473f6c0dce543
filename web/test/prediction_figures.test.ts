import assert from "node:assert/strict";
import { test } from "node:test";
import { rate, rateRange } from "../src/errors/rates.ts";
import { fitted, textWidth } from "../src/charts/figure.tsx";
import { signed } from "../src/format.ts";
import { addedWriter, difference, plainText, plainWidth, roomFor, surfaceOf, wordName, wordWithin } from "../src/prediction/figures.ts";
import { WaterfallFigure } from "../src/prediction/layers.tsx";
import { barDomain, whyNone } from "../src/prediction/reasons.tsx";
import { problemOf } from "../src/prediction/typed.tsx";
import type { PredictionTrace, Token } from "../src/trace.ts";

test("a value is written with its sign, and what rounds to zero has none", () => {
  assert.equal(signed(1.234), "+1.23");
  assert.equal(signed(-0.5), "\u22120.50");
  assert.equal(signed(0.004), "0.00");
  assert.equal(signed(-0.004), "0.00");
});

test("what is added to a number is written and drawn in its own size, and to a logit with fixed decimals", () => {
  assert.equal(addedWriter(true)(0.00123, 3), "+0.00123");
  assert.equal(addedWriter(false)(0.00123, 3), "+0.001");
  assert.deepEqual(barDomain([0.002, -0.001], true), [-0.001, 0.002]);
  assert.deepEqual(barDomain([0.002, -0.001], false), [-0.001, 0.01]);
  assert.deepEqual(barDomain([0], true), [0, 1]);
});

test("differences are powers of ten, or decimals where they are large", () => {
  assert.equal(difference(0), "0");
  assert.match(difference(2e-7), /^2.\u00d7.10\u207b\u2077$/);
  assert.equal(difference(0.0125), "0.013");
  assert.equal(difference(Infinity), "not a number");
});

test("a blank token is written as a sign", () => {
  assert.equal(surfaceOf(" was"), "was");
  assert.equal(surfaceOf("  "), "\u2423");
  assert.equal(surfaceOf(""), "\u2205");
});

test("text in a chart is cut, isolated, and shows what is hidden in it", () => {
  assert.equal(plainText("x".repeat(10_000), 5), "\u2068xxxxx\u2026\u2069");
  assert.equal(plainText("a\u202eb"), "\u2068a\u2039U+202E\u203ab\u2069");
});

test("a word that was left out is named by its place", () => {
  assert.equal(wordName("\u2587", 2), "word 3");
  assert.equal(wordName("dreary", 2), "\u2068dreary\u2069");
});

test("small rates have a second decimal", () => {
  assert.equal(rate(0.0015), "0.15\u202f%");
  assert.equal(rate(0.015), "1.5\u202f%");
  assert.equal(rate(0), "0.0\u202f%");
  assert.equal(rateRange(0.0005, 0.0044), "0.05 to 0.44\u202f%");
  assert.equal(rateRange(0.0005, 0.044), "0.1 to 4.4\u202f%");
});

test("a typed text needs a word, and at most one mask", () => {
  assert.match(problemOf(" \n") ?? "", /no text/);
  assert.match(problemOf("[MASK] and [MASK]") ?? "", /2 masks/);
  assert.equal(problemOf("the [MASK]"), null);
  assert.equal(problemOf("the"), null);
});

test("a prediction without reasons says which of the causes it is", () => {
  const token = (is_special: boolean): Token => ({ is_special }) as Token;
  const none = (label_names: string[], ...special: boolean[]) =>
    whyNone({ task: "classification", label_names, tokens: special.map(token) } as PredictionTrace);
  assert.match(none(["a"], true, false), /single class/);
  assert.match(none(["a", "b"], true, true), /no word/);
  assert.match(none(["a", "b"], true, false, true), /too long/);
});

test("the table of the parts of a number has the numbers of the chart", () => {
  const decision = { index: 0, mean: 7, deviation: 2 };
  const contributions = [{ name: "embedding", logits: [0.25] }, { name: "bias", logits: [0.5] }];
  const prediction = { task: "regression", contributions, decision, head: { logits: [0.75] }, label_names: ["score"] } as unknown as PredictionTrace;
  const found = [WaterfallFigure({ prediction }).props.children].flat()[1].props.children;
  const { rows, columns } = [found].flat()[0].props;
  assert.deepEqual(rows.map((row: object) => columns[1].value(row)), ["+0.5", "+1", "+1.5"]);
  assert.deepEqual([columns[0].value(rows[2]), columns[1].name], ["from the mean", "Number"]);
});

test("Chinese, Japanese and Korean characters are twice as wide as letters", () => {
  assert.deepEqual(["ab", "电影", "カナ", "영화", "👍"].map(textWidth), [13, 26, 26, 26, 13]);
  assert.equal(plainWidth(plainText("电影")), 26);
  assert.deepEqual([fitted("电影电影电影", 60), fitted("abcdef", 39), fitted("abcdefg", 39)], ["电影电影…", "abcdef", "abcde…"]);
  assert.deepEqual([roomFor("电影电影", 30), roomFor("abcd", 30), roomFor("", 30)], [2, 4, 0]);
  assert.equal(wordWithin("电影电影电影电影电影", 0, 100), "\u2068电影电影电影电\u2026\u2069");
});
