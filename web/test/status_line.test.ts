import assert from "node:assert/strict";
import { test } from "node:test";
import { afterChange } from "../src/source.ts";
import { ageOf, stateOf, withoutAdvice } from "../src/status_line.tsx";
import type { RunTrace } from "../src/trace.ts";

const REACHED = "collect is not finished (300 of 900 documents); run the same command to start it over.";

function trace(status: "running" | "finished"): RunTrace {
  return { run: { status }, stages: [{ name: "collect", status, reached: status === "running" ? REACHED : null }] } as unknown as RunTrace;
}

test("a stage is said to be running only while its log grows", () => {
  const connection = { isOpen: true, changedAt: 1000, grewAt: null };
  const stopped = { state: "Collect is not finished", reached: REACHED, isRunning: false };
  assert.deepEqual(stateOf(trace("running"), connection, 2000), stopped);
  const grown = { ...connection, grewAt: 1000 };
  assert.deepEqual(stateOf(trace("running"), grown, 2000), { state: "Collect is running", reached: "300 of 900 documents", isRunning: true });
  assert.deepEqual(stateOf(trace("running"), grown, 200_000), stopped);
  const unknown = { ...stopped, reached: "300 of 900 documents" }; // it ran a moment ago, so no advice to run it again
  assert.deepEqual(stateOf(trace("running"), { ...grown, isOpen: false }, 2000), unknown);
  assert.equal(stateOf(trace("finished"), grown, 2000).state, "The run is finished");
});

test("a change counts from when it was logged, not from when this page was sent it", () => {
  const [now, week] = [10_000_000_000, 7 * 24 * 3600];
  const opened = afterChange({ changedAt: null }, week, now);
  assert.deepEqual([opened.changedAt, opened.grewAt], [now - 1000 * week, null]);
  assert.equal(ageOf(opened.changedAt, now), "Updated 7 days ago");
  const back = afterChange(opened, 3600, now); // a hidden tab that is looked at again
  assert.deepEqual([stateOf(trace("running"), back, now).isRunning, ageOf(back.changedAt, now)], [false, "Updated 60 min ago"]);
  const grown = afterChange(opened, 3, now);
  assert.deepEqual([stateOf(trace("running"), grown, now).isRunning, ageOf(grown.changedAt, now)], [true, "Updated 3 s ago"]);
  assert.equal(ageOf(afterChange(opened, null, now).changedAt, now), "Updated now"); // no log has a time
});

test("a run that runs is not advised to be run again", () => {
  const missing = [{ section: "help", sentence: "The run has not come so far.", command: "pretune run" }];
  const next_step = { sentence: "The run is not finished; this continues it.", command: "pretune run" };
  const shown = withoutAdvice({ ...trace("running"), missing, next_step } as RunTrace);
  assert.equal(shown.stages[0]?.reached, "collect is not finished (300 of 900 documents).");
  assert.deepEqual([shown.missing[0]?.command, shown.next_step], [null, null]);
  assert.equal(withoutAdvice({ ...trace("finished"), missing, next_step } as RunTrace).next_step, next_step);
});
