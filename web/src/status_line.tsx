import { useEffect, useState } from "preact/hooks";

import { capital, count, nats } from "./format.ts";
import type { Connection } from "./source.ts";
import type { Phase, RunTrace } from "./trace.ts";

/** The line at the top of a live page: stage, step, loss, and how old they are. */
export function StatusLine({ trace, connection }: { trace: RunTrace; connection: Connection }) {
  const age = useAge(connection.changedAt);
  const running = trace.stages.find((stage) => stage.status === "running");
  const state = running ? `${capital(running.name)} is running` : trace.run.status === "finished" ? "The run is finished" : "Waiting";
  const last = running && lastStep(trace.phases[running.name as keyof RunTrace["phases"]] ?? null);
  return (
    <p class={`status-line ${running ? "is-running" : ""}`}>
      <b>{state}</b>
      {running?.reached && !last && <span>{running.reached}</span>}
      {last && <span>{last}</span>}
      <span class="status-age">{connection.isOpen ? age : (connection.problem ?? "The connection broke off; trying again")}</span>
    </p>
  );
}

function lastStep(phase: Phase | null): string | null {
  if (phase === null) return null;
  const { step, loss } = phase.steps;
  const [at, value] = [step.at(-1), loss.at(-1)];
  if (at === undefined) return null;
  const planned = phase.plan ? ` of ${count(phase.plan.steps)}` : "";
  return `step ${count(at)}${planned}${value == null ? "" : `, loss ${nats(value)}`}`;
}

function useAge(changedAt: number | null): string {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  if (changedAt === null) return "Connected";
  const seconds = Math.max(0, Math.round((now - changedAt) / 1000));
  if (seconds < 2) return "Updated now";
  return seconds < 100 ? `Updated ${seconds} s ago` : `Updated ${count(Math.round(seconds / 60))} min ago`;
}
