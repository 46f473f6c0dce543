import assert from "node:assert/strict";
import { test } from "node:test";
import {
  agrees,
  attentionWeights,
  contributionLogits,
  countWindows,
  firstDecodable,
  gapsBefore,
  headLogits,
  headProducts,
  joinTokens,
  marginSteps,
  rankCorrelation,
  ranks,
  returned,
  rivalsOf,
  softmax,
  stackedParts,
  stackedSums,
} from "../src/prediction/arithmetic.ts";
import type { PredictionTrace, Readout, Token } from "../src/trace.ts";

const HEAD = { pooled: [1, 2], weight: [[3, -1], [0, 1]], bias: [0.5, 0], logits: [1.5, 2] };

function tokensOf(text: string, ...spans: [number, number][]): Token[] {
  const characters = Array.from(text);
  return spans.map(([start, end], position) => {
    const surface = characters.slice(start, end).join("");
    return { position, id: 0, surface, start, end, is_special: false, in_pair: false, word: null, count: null };
  });
}

test("the head's products and bias give the logits", () => {
  assert.deepEqual(headLogits(HEAD), [1.5, 2]);
});

test("the products of a margin are sorted and sum to it", () => {
  const products = headProducts(HEAD, 0, 1);
  assert.deepEqual(products.map(({ component, product }) => [component, product]), [[0, 3], [1, -4]]);
});

test("the parts of a stack add to the lead of its label, and their fractions to one", () => {
  const stack = {
    probabilities: [0.1, 0.2, 0.7],
    label: "c",
    index: 2,
    probability: 0.7,
    parts: [
      { name: "network", logits: [0, 2, 1] },
      { name: "NB-SVM", logits: [0, -1, 2] },
      { name: "bias", logits: [0, 0, 0] },
    ],
    ngrams: [],
    thresholds: [],
  };
  assert.deepEqual(stackedParts("classification", stack).map(({ value, fraction }) => [value, fraction]), [[-1, 0.25], [3, 0.75], [0, 0]]);
  assert.deepEqual(stackedParts("tokens", stack), stackedParts("classification", stack));
  assert.deepEqual(stackedSums(stack), [0, 1, 3]);
  const [, , bias] = stackedParts("regression", { ...stack, probabilities: [], index: 0 });
  assert.equal(bias?.fraction, null);
});

test("what is returned is the decision of the stack, and that is what is right or wrong", () => {
  const predicted = (values: object) => ({ task: "classification", true_label: "b", stack: null, ...values }) as unknown as PredictionTrace;
  const decision = { label: "a", probability: 0.6, score: null };
  const stack = { label: "b", probability: 0.9 };
  assert.deepEqual(returned(predicted({ decision })), { label: "a", probability: 0.6, isRight: false });
  assert.deepEqual(returned(predicted({ decision, stack })), { label: "b", probability: 0.9, isRight: true });
  assert.equal(returned(predicted({ decision, stack, true_label: null })).isRight, null);
  const number = { task: "regression", decision: { ...decision, label: "2.34567", score: 2.34567 } };
  assert.deepEqual(returned(predicted(number)), { label: "2.346", probability: null, isRight: null });
  const parts = [{ name: "network", logits: [0.62345] }, { name: "bias", logits: [2.5] }];
  assert.equal(returned(predicted({ ...number, stack: { label: "label 1", probability: 0, parts } })).label, "3.123");
  assert.equal(returned(predicted({ ...number, stack: { label: "3.12", probability: 0, parts } })).label, "3.12");
  const far = [{ name: "network", logits: [-12325.8] }, { name: "bias", logits: [12345.7] }]; // of six digits each
  assert.equal(returned(predicted({ ...number, stack: { label: "19.87", probability: 0, parts: far } })).label, "19.87");
  const long = [{ name: "bias", logits: [12345.7] }];
  assert.equal(returned(predicted({ ...number, stack: { label: "1.235e+04", probability: 0, parts: long } })).label, "12,346");
});

test("the softmax of large logits does not overflow", () => {
  assert.deepEqual(softmax([1000, 1000]), [0.5, 0.5]);
});

test("agreement is relative to the size of the values, and lists of two lengths never agree", () => {
  assert.ok(agrees([1000.5], [1000]));
  assert.ok(!agrees([0.5], [0]));
  assert.ok(!agrees([1], [1, 1]));
  assert.ok(agrees([19.8], [19.87], 1e-4, 98765));
  assert.ok(!agrees([0.0275], [0.028], 1e-4, 0.02));
});

test("rivals come by value, without the label", () => {
  assert.deepEqual(rivalsOf([0.1, 0.5, 0.3, 0.05, 0.05], 1, 3), [2, 0, 3]);
});

test("the steps of the margin run on from each other and end at the sum", () => {
  const contributions = [
    { name: "embedding", logits: [1, 0] },
    { name: "bias", logits: [0.5, 2] },
  ];
  assert.deepEqual(marginSteps(contributions, 0, 1), [
    { name: "embedding", from: 0, value: 1 },
    { name: "bias", from: 1, value: -1.5 },
  ]);
  assert.deepEqual(contributionLogits(contributions, 2), [1.5, 2]);
});

test("tokens that cover the text but its spaces give it back, counted in code points", () => {
  const text = "\u{1F600} ok";
  assert.ok(joinTokens(text, tokensOf(text, [0, 1], [0, 1], [2, 4]), false).holds);
  assert.deepEqual(joinTokens(text, tokensOf(text, [2, 4]), false), { holds: false, lost: "\u{1F600} " });
});

test("a token that is not what the text has at its place does not give it back", () => {
  const [token] = tokensOf("one", [0, 3]);
  assert.ok(!joinTokens("One", [token!], false).holds);
});

test("special tokens are no part of the text", () => {
  const [token] = tokensOf("one", [0, 3]);
  assert.ok(!joinTokens("one", [{ ...token!, is_special: true }], false).holds);
});

test("the mask of a cloze is a special token that the text has", () => {
  const text = "\u{1F600} was [MASK].";
  const [smile, was, mask, stop] = tokensOf(text, [0, 1], [1, 5], [6, 12], [12, 13]) as [Token, Token, Token, Token];
  for (const surface of ["[MASK]", "<mask>"]) {
    const special = { ...mask, surface, start: null, end: null, is_special: true };
    const end = { ...special, surface: "[SEP]" };
    assert.deepEqual(joinTokens(text, [end, smile, was, special, stop, end], false), { holds: true, lost: "" });
    assert.equal(joinTokens(text, [end, smile, special, stop, end], false).lost, " was [MASK]");
  }
  assert.equal(joinTokens(text, [smile, was, stop], false).lost, " [MASK]");
});

test("words are joined as the text has them, with what is left out", () => {
  assert.deepEqual(gapsBefore(["A fine  film."], ["A", "fine", "film."]), ["", " ", " "]);
  assert.deepEqual(gapsBefore(["猫が好き"], ["猫", "が", "好き"]), ["", "", ""]);
  assert.deepEqual(gapsBefore(["a b c d", "e f"], ["a", "d", "e", "f"]), ["", " … ", " ", " "]);
  assert.deepEqual(gapsBefore(["▇"], ["▇", "▇"]), ["", " "]);
});

test("a text that was cut may lack one stretch, and no second one", () => {
  const text = "one two three four";
  assert.ok(joinTokens(text, tokensOf(text, [0, 3], [13, 18]), true).holds);
  assert.equal(joinTokens(text, tokensOf(text, [0, 3], [13, 18]), false).lost, " two three");
  assert.equal(joinTokens(text, tokensOf(text, [4, 7]), true).lost, "one ");
  assert.ok(joinTokens(text, tokensOf(text, [4, 7]), true, 2).holds);
});

test("a text that is read in windows may lack the stretches between them, and no others", () => {
  const text = "one two three four five six";
  const [one, two, four, six] = tokensOf(text, [0, 3], [4, 7], [14, 18], [24, 27]) as [Token, Token, Token, Token];
  const special = { ...one, surface: "[SEP]", start: null, end: null, is_special: true };
  const row = [special, one, two, special, special, four, special, special, six, special];
  assert.equal(countWindows({ tokens: row, text_pair: null }), 3);
  assert.equal(countWindows({ tokens: row, text_pair: "" }), 1);
  assert.deepEqual(joinTokens(text, row, true), { holds: true, lost: "" });
  assert.equal(joinTokens(text, row, false).lost, " three  five ");
  assert.equal(joinTokens(text, row.filter((token) => token !== one), true).lost, "one ");
  assert.equal(joinTokens(text, row.filter((token) => token !== six), true).lost, " five six");
});

test("windows are counted whatever special tokens are at their ends", () => {
  const [token] = tokensOf("one", [0, 3]) as [Token];
  const special = { ...token, start: null, end: null, is_special: true };
  for (const window of [[special, token, token], [token, token, special], [special, token, token, special]]) {
    assert.equal(countWindows({ tokens: window, text_pair: null }), 1);
    assert.equal(countWindows({ tokens: [...window, ...window, ...window, ...window], text_pair: null }), 4);
  }
  assert.equal(countWindows({ tokens: [special, token, special, token, special], text_pair: null }), 1);
});

test("attention is read by layer and head, rows first", () => {
  const bytes = [0, 255, 255, 0, 51, 204, 102, 153];
  const attention = {
    shape: [1, 2, 2, 2],
    weights: btoa(String.fromCharCode(...bytes)),
    special_fraction: [[0, 0]],
    row_sum_error: 0,
  };
  assert.deepEqual(attentionWeights(attention, 0, 1), [[0.2, 0.8], [0.4, 0.6]]);
});

test("equal values share a rank, and a constant list has no correlation", () => {
  assert.deepEqual(ranks([10, 20, 10]), [1.5, 3, 1.5]);
  assert.equal(rankCorrelation([1, 2, 3], [10, 20, 30]), 1);
  assert.equal(rankCorrelation([1, 2, 3], [3, 2, 1]), -1);
  assert.equal(rankCorrelation([1, 1, 1], [3, 2, 1]), null);
  assert.equal(rankCorrelation([1, 2], [3, 4]), null);
});

test("a probe that does not beat its controls by two standard errors is not decodable", () => {
  const readout = (layer: number, accuracy: number, n: number): Readout => ({
    layer,
    logits: [],
    probabilities: [],
    label: "",
    probe: { probabilities: [], validation_accuracy: accuracy, shuffled_accuracy: 0.5, random_weights_accuracy: 0.6, n },
  });
  assert.equal(firstDecodable([readout(0, 0.62, 100), readout(1, 0.9, 100)])?.layer, 1);
  assert.equal(firstDecodable([readout(0, 0.62, 100)]), null);
});
