import { useEffect, useState } from "preact/hooks";

import { capital, count, nats } from "./format.ts";
import type { Connection } from "./source.ts";
import type { Phase, RunTrace } from "./trace.ts";

/** The line at the top of a live page: stage, step, loss, and how old they are. */
export function StatusLine({ trace, connection }: { trace: RunTrace; connection: Connection }) {
  const now = useNow();
  const begun = trace.stages.find((stage) => stage.status === "running");
  const last = begun && lastStep(trace.phases[begun.name as keyof RunTrace["phases"]] ?? null);
  const { state, reached, isRunning } = stateOf(trace, connection, now);
  return (
    <p class={`status-line ${isRunning ? "is-running" : ""}`}>
      <b>{state}</b>
      {(last ?? reached) && <span>{last ?? reached}</span>}
      <span class="status-age">
        {connection.isOpen ? ageOf(connection.changedAt, now) : (connection.problem ?? "The connection broke off; trying again")}
      </span>
    </p>
  );
}

// Milliseconds; most stages log several times a minute, but not all do throughout. The server rests for up to 50 seconds.
const LONGEST_SILENCE = 120_000;

export interface State {
  state: string;
  /** how far the stage came that has begun and not finished */
  reached: string | null;
  isRunning: boolean;
}

/** Where the run stands. A stage that has begun and not finished may have been interrupted: that it runs is seen from its log, which grows. */
export function stateOf({ stages, run }: Pick<RunTrace, "stages" | "run">, { isOpen, grewAt }: Connection, now: number): State {
  const begun = stages.find((stage) => stage.status === "running");
  if (!begun) return { state: `The run is ${run.status === "finished" ? "finished" : "not finished"}`, reached: null, isRunning: false };
  const hasGrown = grewAt !== null && now - grewAt < LONGEST_SILENCE;
  const isRunning = isOpen && hasGrown;
  // The sentence advises to run the command again, which is not said of a stage that was seen to run a moment ago.
  const reached = hasGrown ? (/\(([^)]*)\)/.exec(begun.reached ?? "")?.[1] ?? null) : begun.reached;
  return { state: `${capital(begun.name)} is ${isRunning ? "running" : "not finished"}`, reached, isRunning };
}

/** Whether the log has grown a moment ago, also between two stages and while the connection is broken. */
export function useHasGrown(connection: Connection | null): boolean {
  const grewAt = connection?.grewAt ?? null;
  const [silentSince, setSilentSince] = useState<number | null>(null);
  useEffect(() => {
    if (grewAt === null) return;
    const timer = setTimeout(() => setSilentSince(grewAt), grewAt + LONGEST_SILENCE - Date.now());
    return () => clearTimeout(timer);
  }, [grewAt]);
  return grewAt !== null && grewAt !== silentSince && Date.now() - grewAt < LONGEST_SILENCE;
}

/** Of a run that runs, as far as is known: without the advice to run the command again. */
export function withoutAdvice(trace: RunTrace): RunTrace {
  if (trace.run.status === "finished") return trace;
  return {
    ...trace,
    stages: trace.stages.map((stage) => ({ ...stage, reached: stage.reached && stage.reached.replace(/; run the same command .*$/, ".") })),
    missing: trace.missing.map((part) => ({ ...part, command: null })),
    next_step: null,
  };
}

function lastStep(phase: Phase | null): string | null {
  if (phase === null) return null;
  const { step, loss } = phase.steps;
  const [at, value] = [step.at(-1), loss.at(-1)];
  if (at === undefined) return null;
  const planned = phase.plan ? ` of ${count(phase.plan.steps)}` : "";
  return `step ${count(at)}${planned}${value == null ? "" : `, loss ${nats(value)}`}`;
}

function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

export function ageOf(changedAt: number | null, now: number): string {
  if (changedAt === null) return "Connected";
  const seconds = Math.max(0, Math.round((now - changedAt) / 1000));
  if (seconds < 2) return "Updated now";
  if (seconds < 100) return `Updated ${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `Updated ${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `Updated ${hours} h ago` : `Updated ${count(Math.round(hours / 24))} days ago`;
}
