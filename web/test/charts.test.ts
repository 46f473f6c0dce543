import assert from "node:assert/strict";
import { test } from "node:test";
import { drawnGuess } from "../src/charts/intervals.tsx";
import { type Line, stepDots, vertical } from "../src/charts/lines.tsx";
import { areaPath, linePath } from "../src/charts/path.ts";
import { scaleLinear, scaleLog } from "../src/charts/scale.ts";
import { forestScale } from "../src/charts/small.tsx";
import { tickWriter } from "../src/charts/ticks.ts";

test("a linear scale maps the ends of its domain to the ends of its range", () => {
  const scale = scaleLinear([0, 4], [100, 20]);
  assert.deepEqual([scale(0), scale(1), scale(4)], [100, 80, 20]);
  assert.equal(scale.invert(60), 2);
  assert.equal(scale(5), 0);
  assert.equal(scale.clamp(true)(5), 20);
});

test("a scale of one value has it in the middle", () => assert.equal(scaleLinear([3, 3], [0, 10])(3), 5));

test("the ticks of a scale are round and lie within it", () => {
  assert.deepEqual(scaleLinear([0, 7.94], [0, 1]).ticks(4), [0, 2, 4, 6]);
  assert.deepEqual(scaleLinear([-0.013, 0.52], [0, 1]).nice(4).domain(), [-0.1, 0.6]);
});

test("a logarithmic scale has equal ratios equally far apart", () => {
  const scale = scaleLog([1, 10000], [0, 4]);
  assert.deepEqual([1, 10, 100].map((value) => Math.round(scale(value) * 1e6) / 1e6), [0, 1, 2]);
});

test("single updates above the axis are left out, and few of them are", () => {
  const steps: Line = { name: "step", kind: "steps", points: Array.from({ length: 100 }, (_, x) => ({ x, y: x < 97 ? x / 100 : 50 })) };
  const validation: Line = { name: "validation", kind: "validation", points: [{ x: 50, y: 0.5 }] };
  const y = vertical({ lines: [steps, validation] }, 190);
  assert.ok((y.domain()[1] ?? 0) > 0.94 && (y.domain()[1] ?? 0) < 1.1);
  const drawn = stepDots(steps.points, scaleLinear([0, 99], [0, 99]), y).split("M").length - 1;
  assert.ok(drawn >= 95 && drawn <= 97);
  assert.ok((vertical({ lines: [steps] }, 190).domain()[1] ?? 0) > 50);
});

test("zero is on every forest column", () => {
  assert.ok(forestScale([0.3, 0.4]).ticks.includes(0));
  assert.ok(forestScale([-0.3, -0.1]).ticks.includes(0));
});

test("paths", () => {
  assert.equal(linePath([]), "");
  assert.equal(linePath([[0, 1], [2.04, 3]]), "M0 1L2 3");
  assert.equal(areaPath([[0, 1], [2, 3]], [[0, 5], [2, 6]]), "M0 1L2 3L2 6L0 5Z");
});

for (const [low, high, count, expected] of [
  [0, 1, 4, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0, 0.001, 4, [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]],
  [0.4, 1, 5, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]],
  [0, 23500, 4, [0, 5000, 10000, 15000, 20000]],
  [3, 3, 4, [3]],
] as [number, number, number, number[]][]) {
  test(`ticks from ${low} to ${high}`, () => assert.deepEqual(scaleLinear([low, high], [0, 1]).ticks(count), expected));
}

for (const [ticks, options, expected] of [
  [[-0.005, 0, 0.005, 0.01], { factor: 100, isSigned: true }, ["−0.5", "0.0", "+0.5", "+1.0"]],
  [[0.8, 0.85, 0.9], {}, ["0.80", "0.85", "0.90"]],
  [[0.1, 0.2, 0.3], {}, ["0.1", "0.2", "0.3"]],
  [[0, 0.02, 0.04], { factor: 100 }, ["0", "2", "4"]],
  [[0, 0.0002, 0.0004], {}, ["0.0000", "0.0002", "0.0004"]],
  [[0, 5000, 10000], {}, ["0", "5,000", "10,000"]],
  [[1000, 1000.5, 1001], {}, ["1,000.0", "1,000.5", "1,001.0"]],
  [[0, 2e-6, 4e-6], {}, ["0", "2\u202f×\u202f10⁻⁶", "4\u202f×\u202f10⁻⁶"]],
  [[0.3], {}, ["0.3"]],
  [[0], {}, ["0"]],
] as [number[], object, string[]][]) {
  test(`the labels of the ticks ${ticks.join(", ")}`, () => assert.deepEqual(ticks.map(tickWriter(ticks, options)), expected));
}

test("the line of guessing is drawn only where the scale has it", () => {
  const from = (low: number) => ({ rows: [], panels: [{ title: "", values: [{ value: 0.9, low, high: 0.95, seeds: [] }] }], guess: 0.5 });
  assert.equal(drawnGuess(from(0.85)), null);
  assert.equal(drawnGuess(from(0.52)), 0.5);
  assert.equal(drawnGuess({ ...from(0.52), guess: null }), null);
});
