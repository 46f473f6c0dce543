import { Fold } from "../fold.tsx";
import { count, counted, nats, percent, typeset } from "../format.ts";
import { metricTitle, writeMetric } from "../metric.ts";
import { Lead, NothingYet, Part } from "../section.tsx";
import type { Evaluation, Phase, RunTrace } from "../trace.ts";
import { PhaseCharts, predictedTokens, StepCharts } from "./charts.tsx";
import { Continued } from "./continued.tsx";
import { TraceTable } from "./table.tsx";
import { Trials } from "./trials.tsx";
import { Watch } from "./watch.tsx";

/** Loss and score of both phases, every evaluation with what a rule found in it, and what the model fills in. */
export function Training({ trace }: { trace: RunTrace }) {
  const phases = shownPhases(trace);
  const scratch = phases.some((phase) => phase.stage === "scratch") ? null : trace.phases.scratch;
  if (phases.length === 0) return <NothingYet section="training" trace={trace} sentence="Nothing has been trained yet." />;
  return (
    <>
      <Lead>{summary(trace)}</Lead>
      <Key />
      <div class={phases.length > 1 ? "phase-pair" : "phase-single"}>
        {phases.map((phase) => (
          <PhaseCharts key={phase.stage} phase={phase} trace={trace} />
        ))}
      </div>
      <Part
        title={phases.length > 1 ? "Both phases in one table" : "Every evaluation"}
        sentence="Each observation is a rule applied to the log; open one to see its numbers and where they stand."
      >
        <TraceTable phases={phases} caption="Every evaluation of pre-training and fine-tuning" />
        {scratch && (
          <Fold name="The control from scratch, evaluation by evaluation">
            <TraceTable phases={[scratch]} caption="Every evaluation of the control from scratch" />
          </Fold>
        )}
        <Trials phases={[...phases, ...(scratch ? [scratch] : [])]} />
        <Skipped phases={phases} />
        <Fold name="Learning rate, gradient norm and tokens per second">
          {phases.map((phase) => (
            <StepCharts key={phase.stage} phase={phase} />
          ))}
        </Fold>
      </Part>
      {trace.watched.some((sentence) => sentence.moments.length > 0) && <Watch trace={trace} />}
      {trace.continued.some((prompt) => prompt.moments.length > 0) && <Continued trace={trace} />}
    </>
  );
}

/** The phases that stand in the open; in the folder of the control alone, that is the control. */
export function shownPhases({ phases: { pretrain, finetune, scratch } }: Pick<RunTrace, "phases">): Phase[] {
  const found = [pretrain, finetune].filter((phase) => phase !== null);
  return found.length === 0 && scratch ? [scratch] : found;
}

/** The training in two sentences. */
export function summary(trace: Pick<RunTrace, "phases">): string {
  const pretrain = trace.phases.pretrain;
  const finetune = shownPhases(trace).find((phase) => phase !== pretrain);
  const sentences: string[] = [];
  const [first, last] = [pretrain?.evaluations[0], pretrain?.evaluations.at(-1)];
  const uniform = pretrain?.loss_references.find((reference) => reference.id === "uniform");
  if (first?.step === 0 && uniform) {
    const isBase = pretrain?.loss_references.some((reference) => reference.id === "base"); // which has learned already
    const level = Math.abs(first.loss - uniform.value) < 0.3 ? "Before training the model guessed" : "Before training the loss was off";
    sentences.push(`${isBase ? "The base begins at" : `${level}:`} ${nats(first.loss)} nats, where a uniform guess has ${uniform.name} = ${nats(uniform.value)}.`);
  }
  const parts: string[] = [];
  if (last && last.step > 0) parts.push(`after ${count(last.step)} steps it finds ${percent(last.score)} of ${predictedTokens(pretrain as Phase)}`);
  const best = finetune?.evaluations.find((row) => row.is_best) ?? finetune?.evaluations.at(-1);
  if (best) {
    const epochs = Number.isInteger(best.epoch) ? counted(best.epoch, "epoch") : `${count(best.step)} steps`;
    parts.push(`after ${epochs} on ${finetune?.objective === "replies" ? "conversations" : "labels"} it ${learned(finetune as Phase, best)}`);
  }
  const both = parts.join(", and ");
  if (both) sentences.push(`${both.charAt(0).toUpperCase()}${both.slice(1)}.`);
  return sentences.join(" ") || "Training has begun; the first evaluation will stand here.";
}

/** What a fine-tuned model reaches at an evaluation. */
function learned(phase: Phase, { score }: Evaluation): string {
  if (phase.objective === "replies") return `predicts ${percent(score)} of the held-out ${predictedTokens(phase)}`;
  if (phase.metric === "accuracy") return `is right on ${percent(score)} of the validation texts`;
  return `reaches a ${metricTitle(phase.metric)} of ${writeMetric(phase.metric, score)} on the validation texts`;
}

function Key() {
  return (
    <ul class="key">
      <li>
        <i class="key-validation" />
        validation, text held out
      </li>
      <li>
        <i class="key-training" />
        training
      </li>
      <li>
        <i class="key-level" />
        what a guess would reach
      </li>
      <li>
        <i class="key-band" />
        95 % interval
      </li>
    </ul>
  );
}

function Skipped({ phases }: { phases: Phase[] }) {
  const skipped = phases.flatMap((phase) => phase.skipped);
  if (skipped.length === 0) return null;
  return (
    <Fold name={`${skipped.length === 1 ? "One update was" : `${count(skipped.length)} updates were`} skipped`}>
      <ul class="messages">
        {skipped.slice(0, 50).map((update) => (
          <li>{typeset(update.sentence)}</li>
        ))}
        {skipped.length > 50 && <li>and {count(skipped.length - 50)} more</li>}
      </ul>
    </Fold>
  );
}
