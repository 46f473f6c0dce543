import assert from "node:assert/strict";
import { test } from "node:test";
import type { Oracle } from "../src/oracle.ts";
import { askAbout, complaintOf, nothingTyped } from "../src/prediction/typed.tsx";
import type { PredictionTrace } from "../src/trace.ts";

const predictionOf = (text: string) => ({ text }) as PredictionTrace;

/** An oracle whose answers wait until they are let go, in the order in which they were asked for. */
function waiting() {
  const parts: ((part: PredictionTrace) => void)[] = [];
  const ends: { done: (found: PredictionTrace) => void; fail: (problem: Error) => void }[] = [];
  const oracle: Oracle = {
    place: "here",
    trace: (_text, onPart) => new Promise((done, fail) => (parts.push(onPart!), ends.push({ done, fail }))),
    fill: () => Promise.reject(new Error("no fill")),
  };
  return { oracle, parts, ends };
}

test("an answer arrives while the panel is not there, and is pending until its reasons are", async () => {
  const { oracle, parts, ends } = waiting();
  const kept = { ...nothingTyped(), text: "one" };
  const asked = askAbout(kept, oracle, false);
  assert.ok(kept.isBusy);
  kept.redraw = null; // another tab is looked at
  parts[0]!(predictionOf("one, without reasons"));
  assert.deepEqual([kept.answer, kept.isBusy], [{ prediction: predictionOf("one, without reasons") }, true]);
  ends[0]!.done(predictionOf("one"));
  await asked;
  assert.deepEqual([kept.answer, kept.isBusy, kept.error], [{ prediction: predictionOf("one") }, false, null]);
});

test("only the answer to the last text is shown, and a failure is a sentence", async () => {
  const { oracle, parts, ends } = waiting();
  const kept = { ...nothingTyped(), text: "one" };
  const first = askAbout(kept, oracle, false);
  kept.text = "two";
  const second = askAbout(kept, oracle, false);
  parts[0]!(predictionOf("one"));
  ends[0]!.done(predictionOf("one"));
  await first;
  assert.deepEqual([kept.answer, kept.isBusy], [null, true]);
  ends[1]!.fail(new Error("The server has ended."));
  await second;
  assert.deepEqual([kept.answer, kept.isBusy, kept.error], [null, false, "The server has ended."]);
});

test("the panel is drawn again for every part", async () => {
  const { oracle, parts, ends } = waiting();
  let times = 0;
  const kept = { ...nothingTyped(), redraw: () => void times++ };
  const asked = askAbout(kept, oracle, false);
  parts[0]!(predictionOf("one"));
  ends[0]!.done(predictionOf("one"));
  await asked;
  assert.equal(times, 4); // asked, the part, the whole, and no longer busy
});

test("a missing second text is a complaint about the second field", () => {
  assert.equal(complaintOf("A man sleeps.", " ")?.wrong, "pair");
  assert.equal(complaintOf(" ", " ")?.wrong, "text");
  assert.deepEqual([complaintOf("A man sleeps.", "He is awake."), complaintOf("A man [MASK].", ""), complaintOf("A man sleeps.", null)], [null, null, null]);
});
