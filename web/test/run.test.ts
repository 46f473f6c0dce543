import assert from "node:assert/strict";
import { test } from "node:test";
import { gainOf } from "../src/run/index.tsx";
import type { Comparison } from "../src/trace.ts";

function compared(metric: string): Comparison {
  const models = [{ kind: "scratch", score: 0.75 }, { kind: "pretrained", score: 0.875 }];
  const verdict = { between: ["pretrained", "scratch"], metric, slice: null, difference: 0.1234 };
  return { metric: "accuracy", models, verdicts: [verdict] } as unknown as Comparison;
}

test("what pre-training added is said in the metric of the chart, and not in that of the verdict", () => {
  assert.deepEqual(gainOf(compared("accuracy")), { from: 0, to: 1, difference: 0.1234 });
  assert.deepEqual(gainOf(compared("macro_f1")), { from: 0, to: 1, difference: 0.125 });
  assert.equal(gainOf({ ...compared("accuracy"), models: [] }), null);
});
