import { Table } from "../charts/figure.tsx";
import { Fold } from "../fold.tsx";
import { count, duration, nats, NONE, or, significant, typeset } from "../format.ts";
import { metricTitle, writeMetric } from "../metric.ts";
import type { Phase, Trial } from "../trace.ts";
import { epochs, phaseTitle } from "./charts.tsx";

/** Learning rates and seeds that were tried, where there was more than one. */
export function Trials({ phases }: { phases: Phase[] }) {
  const tried = phases.filter((phase) => phase.trials.length > 1);
  if (tried.length === 0) return null;
  return (
    <Fold name="All trials, by learning rate and seed">
      {tried.map((phase) => (
        <TrialTable phase={phase} />
      ))}
    </Fold>
  );
}

function TrialTable({ phase }: { phase: Phase }) {
  const number = (name: string, value: (trial: Trial) => string) => ({ name, value, isNumber: true });
  return (
    <div class="trials">
      <h4>{phaseTitle(phase)}</h4>
      {phase.chosen && <p class="reading">{typeset(phase.chosen)}</p>}
      <Table
        caption={`${phaseTitle(phase)}: all trials`}
        rows={phase.trials}
        columns={[
          number("Trial", (trial) => `${count(trial.trial)}${trial.trial === phase.shown_trial ? ", shown" : ""}`),
          { name: "Kind", value: (trial) => kind(phase, trial) },
          number("Learning rate", (trial) => or(trial.learning_rate, (value) => significant(value, 2))),
          number("Seed", (trial) => or(trial.seed, count)),
          number("Rows", (trial) => or(trial.rows, count)),
          number("Kept epoch", (trial) => or(trial.best_epoch, epochs)),
          number(`Validation ${metricTitle(phase.metric)}`, (trial) => or(trial.validation_score, (value) => writeMetric(phase.metric, value))),
          number("Validation loss", (trial) => or(trial.validation_loss, nats)),
          { name: "Stopped by", value: (trial) => trial.stopped ?? NONE },
          number("Time", (trial) => or(trial.elapsed_seconds, duration)),
        ]}
      />
    </div>
  );
}

function kind(phase: Phase, trial: Trial): string {
  if (phase.averaged_trials.includes(trial.trial)) return "averaged";
  if (trial.is_student) return "student";
  return trial.is_search ? "search" : "full";
}
