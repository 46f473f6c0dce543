import assert from "node:assert/strict";
import { test } from "node:test";
import { evaluate, ExpressionError } from "../src/expression.ts";

const EMPTY = {};

function nested(depth: number): unknown {
  return depth === 0 ? 1 : ["abs", nested(depth - 1)];
}

const VALUES: [unknown, unknown, unknown][] = [
  [7, EMPTY, 7],
  ["text", EMPTY, "text"],
  [null, EMPTY, null],
  [["add", 1, ["mul", 2, 3]], EMPTY, 7],
  [["softmax", ["list", 0, 0]], EMPTY, [0.5, 0.5]],
  [["softmax", ["list", 1000, 1000]], EMPTY, [0.5, 0.5]],
  [["lt", ["map", ["at", "/evals"], "loss"], 2], { evals: [{ loss: 3 }, { loss: 1 }] }, [false, true]],
  [["first", ["where", ["lt", ["map", ["at", "/evals"], "loss"], 2]]], { evals: [{ loss: 3 }, { loss: 1 }] }, 1],
  [["map", ["at", "/confusion"], 0], { confusion: [[5, 1], [2, 7]] }, [5, 2]],
  [["round", 2.5], EMPTY, 3],
  [["add", ["round", -0.5], 0], EMPTY, 0],
  [["floor", -0.5], EMPTY, -1],
  [["eq", true, 1], EMPTY, false],
  [["eq", null, null], EMPTY, true],
  [["eq", "a", "a"], EMPTY, true],
  [["ne", "1", 1], EMPTY, true],
  [["eq", ["list", "a", "b"], "b"], EMPTY, [false, true]],
  [["add", ["list", ["list", 1, 2], ["list", 3]], 1], EMPTY, [[2, 3], [4]]],
  [["sub", ["list", 3, 5], ["list", 1, 2]], EMPTY, [2, 3]],
  [["near", ["list", 1, 2], 1.05, 0.1], EMPTY, [true, false]],
  [["near", 1, 1.25, 0.25], EMPTY, true],
  [["le", 1, 1], EMPTY, true],
  [["ge", 1, 2], EMPTY, false],
  [["gt", 2, 1], EMPTY, true],
  [["and", ["list", true, false], true], EMPTY, [true, false]],
  [["or", false, true], EMPTY, true],
  [["not", ["list", true, false]], EMPTY, [false, true]],
  [["len", "a\u00e9\u{1F600}"], EMPTY, 3],
  [["len", ["at", "/a"]], { a: { x: 1, y: 2 } }, 2],
  [["sum", ["list"]], EMPTY, 0],
  [["sum", ["list", 1, 2, 4]], EMPTY, 7],
  [["min", ["list", 2, 1]], EMPTY, 1],
  [["max", ["list", 2, 1]], EMPTY, 2],
  [["argmin", ["list", 2, 1, 1]], EMPTY, 1],
  [["argmax", ["list", 1, 3, 3]], EMPTY, 1],
  [["sort", ["list", 10, 9, 1]], EMPTY, [1, 9, 10]],
  [["flatten", ["list", ["list", 1], ["list", 2, 3]]], EMPTY, [1, 2, 3]],
  [["distinct", ["list", 1, true, 1, "1", null, null]], EMPTY, [1, true, "1", null]],
  [["all", ["list"]], EMPTY, true],
  [["any", ["list", false, true]], EMPTY, true],
  [["take", ["list", 5, 6, 7], ["list", 2, 0]], EMPTY, [7, 5]],
  [["last", ["list", 5, 6]], EMPTY, 6],
  [["index", ["list", 5, 6], 1], EMPTY, 6],
  [["if", ["lt", 1, 2], "yes", "no"], EMPTY, "yes"],
  [["div", 1, 4], EMPTY, 0.25],
  [["sqrt", 9], EMPTY, 3],
  [["exp", 0], EMPTY, 1],
  [["ln", 1], EMPTY, 0],
  [["at", ""], [1], [1]],
  [["at", "/a~1b/~0c/0"], { "a/b": { "~c": [4] } }, 4],
  [nested(64), EMPTY, 1],
];

for (const [expression, document, value] of VALUES) {
  test(`${JSON.stringify(expression).slice(0, 80)} has its value`, () => {
    assert.deepEqual(evaluate(expression, document), value);
  });
}

const ERRORS: [unknown, unknown][] = [
  [["div", 1, 0], EMPTY],
  [["ln", 0], EMPTY],
  [["sqrt", -1], EMPTY],
  [["exp", 1000], EMPTY],
  [["at", "/missing"], EMPTY],
  [["at", "/constructor"], EMPTY],
  [["at", "/__proto__"], EMPTY],
  [["at", "/length"], [1]],
  [["at", "/00"], [1]],
  [["at", "a"], { a: 1 }],
  [["at", "/a/b"], { a: null }],
  [["add", true, 1], EMPTY],
  [["add", 1], EMPTY],
  [["and", 1, true], EMPTY],
  [["or", true, 1], EMPTY],
  [["if", 1, 2, 3], EMPTY],
  [["unknown", 1], EMPTY],
  [["toString"], EMPTY],
  [[], EMPTY],
  [[["list"]], EMPTY],
  [{ a: 1 }, EMPTY],
  [["first", ["list"]], EMPTY],
  [["last", ["list"]], EMPTY],
  [["max", ["list"]], EMPTY],
  [["argmin", ["list"]], EMPTY],
  [["softmax", ["list"]], EMPTY],
  [["index", ["list", 1], 1], EMPTY],
  [["index", ["list", 1], -1], EMPTY],
  [["index", ["list", 1], 0.5], EMPTY],
  [["add", ["list", 1], ["list", 1, 2]], EMPTY],
  [["eq", ["at", "/a"], 1], { a: { b: 1 } }],
  [["len", 3], EMPTY],
  [["sum", 3], EMPTY],
  [["distinct", ["list", ["list", 1]]], EMPTY],
  [["where", ["list", 1]], EMPTY],
  [nested(65), EMPTY],
];

for (const [expression, document] of ERRORS) {
  test(`${JSON.stringify(expression).slice(0, 80)} has no value`, () => {
    assert.throws(() => evaluate(expression, document), ExpressionError);
  });
}
