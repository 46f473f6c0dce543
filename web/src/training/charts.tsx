import { LineChart, type Line, type Point } from "../charts/lines.tsx";
import { Table } from "../charts/figure.tsx";
import { capital, count, fixed, NONE, nats, or, percent, scientific, significant } from "../format.ts";
import { metricTitle, writeMetric } from "../metric.ts";
import type { Evaluation, Phase, RunTrace, StepSeries } from "../trace.ts";

const TITLES: Record<Phase["stage"], string> = {
  pretrain: "Pre-training",
  finetune: "Fine-tuning",
  scratch: "From scratch",
};

export function phaseTitle(phase: Phase): string {
  return TITLES[phase.stage];
}

const PREDICTED = {
  masked: "hidden words",
  causal: "the next token",
  hybrid: "hidden words, and the next token",
  replies: "the replies of conversations",
};

/** What is predicted where that is tokens: a hybrid has the next tokens in a chart of their own. */
export function predictedTokens({ unit }: Phase): string {
  return unit === "next tokens" || unit === "reply tokens" ? unit : "hidden tokens";
}

/** What one label of a phase is, as in "nats per ...". */
function labelUnit(phase: Phase): string {
  if (phase.stage === "pretrain" || phase.objective === "replies") return `nats per ${predictedTokens(phase).slice(0, -1)}`;
  return LOSS_UNITS[phase.metric] ?? "nats per text";
}

function subtitle(phase: Phase, trace: RunTrace): string {
  if (phase.stage === "pretrain") {
    const found = trace.stages.find((stage) => stage.name === "pretrain")?.shape_in ?? [];
    const tokens = found.find((quantity) => quantity.name.replaceAll("_", " ") === "training tokens")?.value;
    return `predicting ${PREDICTED[phase.objective ?? "masked"]}${typeof tokens === "number" ? `, on ${count(tokens)} tokens of raw text` : ", on raw text"}${longRows(phase)}`;
  }
  if (phase.objective === "replies") return "learning the replies of conversations";
  const found = trace.stages.find((stage) => stage.name === phase.stage)?.shape_in ?? [];
  const rows = found.find((quantity) => quantity.name.replaceAll("_", " ") === "train rows")?.value;
  return `learning the task${typeof rows === "number" ? `, on ${count(rows)} labelled texts` : ", on labelled texts"}`;
}

/** From where on rows are longer, which changes the loss; nothing where they are not. */
export function longRows({ plan }: Pick<Phase, "plan">): string {
  if (plan?.long_start_step == null || plan.long_start_step >= plan.steps) return "";
  return `, with longer rows after step ${count(plan.long_start_step)}`;
}

/** Loss above accuracy of one phase; the two phases never share an axis. */
export function PhaseCharts({ phase, trace }: { phase: Phase; trace: RunTrace }) {
  return (
    <div class="phase">
      <h3>
        {phaseTitle(phase)}
        <small>{subtitle(phase, trace)}</small>
      </h3>
      <LossChart phase={phase} isAlone={!trace.phases.pretrain || !trace.phases.finetune} />
      <ScoreChart phase={phase} />
      {phase.objective === "hybrid" && <NextTokenChart phase={phase} />}
    </div>
  );
}

function LossChart({ phase, isAlone }: { phase: Phase; isAlone: boolean }) {
  const isPretraining = phase.stage === "pretrain";
  const decay = phase.plan?.decay_start_step;
  return (
    <LineChart
      title={`Loss, ${labelUnit(phase)}`}
      sentence={lossSentence(phase, isAlone)}
      lines={lines(phase, "loss")}
      levels={referencesApart(phase)}
      events={isPretraining && decay != null ? eventsAt(phase, decay, "rate falls") : []}
      kept={isPretraining ? null : keptEpoch(phase)}
      write={nats}
      writeTick={tick}
      unit="epoch"
      writeX={epochWriter(phase)}
      table={<EvaluationTable phase={phase} of="loss" />}
    />
  );
}

/** The loss of predicting the next token, by the bytes of the text: a figure that does not depend on the tokenizer. */
function bitsSentence(phase: Phase): string {
  const bits = phase.evaluations.at(-1)?.next_tokens?.bits_per_byte;
  return bits == null ? "" : `At the last evaluation it is ${significant(bits, 3)} bits per byte of the text.`;
}

/** Of a hybrid model, beside the charts of hidden tokens. */
function NextTokenChart({ phase }: { phase: Phase }) {
  const rows = phase.evaluations.flatMap((row) => (row.next_tokens ? [{ row, found: row.next_tokens }] : []));
  return (
    <LineChart
      title="Loss, nats per next token"
      sentence={bitsSentence(phase)}
      lines={[{ name: "validation", kind: "validation", points: rows.map(({ row, found }) => ({ x: row.epoch, y: found.loss })) }]}
      write={nats}
      writeTick={tick}
      unit="epoch"
      writeX={epochWriter(phase)}
      table={
        <Table
          caption="Predicting the next token, at every evaluation"
          rows={rows}
          columns={[
            { name: "Epoch", value: ({ row }) => fixed(row.epoch, epochDecimals(largestEpoch(phase))), isNumber: true },
            { name: "Step", value: ({ row }) => count(row.step), isNumber: true },
            { name: "Loss", value: ({ found }) => nats(found.loss), isNumber: true },
            { name: "Accuracy", value: ({ found }) => percent(found.accuracy), isNumber: true },
            { name: "Bits per byte", value: ({ found }) => or(found.bits_per_byte, (bits) => significant(bits, 3)), isNumber: true },
          ]}
        />
      }
    />
  );
}

/** ln K and the class prior lie on one another where the classes are balanced: then one line stands for both. */
function referencesApart(phase: Phase) {
  const kept: { name: string; value: number }[] = [];
  for (const reference of phase.loss_references) {
    const near = kept.find((other) => Math.abs(other.value - reference.value) < 0.02 * other.value);
    if (!near) kept.push({ name: `${reference.name}: ${nats(reference.value)}`, value: reference.value });
  }
  return kept;
}

const LOSS_UNITS: Record<string, string> = {
  micro_f1: "nats per text, all labels together",
  pearson: "squared deviations",
  entity_f1: "nats per word",
};

function ScoreChart({ phase }: { phase: Phase }) {
  const isPretraining = phase.stage === "pretrain";
  const isAccuracy = phase.metric === "accuracy";
  const right = phase.objective === "replies" ? `${predictedTokens(phase)} predicted` : "texts labelled right";
  const title = isAccuracy ? `Accuracy, ${right}` : capital(metricTitle(phase.metric));
  const lowest = Math.min(0, ...phase.evaluations.map((row) => row.score_low ?? row.score));
  return (
    <LineChart
      title={isPretraining ? `Accuracy, ${predictedTokens(phase)} found` : title}
      sentence={scoreSentence(phase)}
      lines={lines(phase, "score")}
      levels={phase.accuracy_references.map((reference) => ({
        name: `${reference.name}: ${percent(reference.value)}`,
        value: reference.value,
      }))}
      kept={isPretraining ? null : keptEpoch(phase)}
      domain={[Math.max(-1, lowest), 1]}
      write={(value) => writeMetric(phase.metric, value)}
      writeTick={(value) => (isAccuracy ? (value === 1 ? percent(1, 0) : fixed(100 * value, 0)) : fixed(value, 1))}
      unit="epoch"
      writeX={epochWriter(phase)}
      table={<EvaluationTable phase={phase} of="score" />}
    />
  );
}

/** Whether an evaluation is the first whose loss is below the unigram entropy by more than noise, as the observations have
 * it. They leave out the start, where a base may be below it. */
function isBelow({ step, loss, loss_error, observations }: Evaluation, unigram: number): boolean {
  if (step === 0) return loss < unigram - 1.96 * (loss_error ?? 0);
  return observations.some(({ rule }) => rule === "below unigram");
}

export function lossSentence(phase: Phase, isAlone = false): string {
  const unigram = phase.loss_references.find((reference) => reference.id === "unigram");
  if (unigram) {
    const below = phase.evaluations.find((row) => isBelow(row, unigram.value));
    const sentence = below
      ? `${below.step === 0 ? "From the start" : `By step ${count(below.step)}`} the loss is below what word frequencies alone give.`
      : "So far the loss is not measurably below what word frequencies alone give.";
    return phase.objective === "causal" ? `${sentence} ${bitsSentence(phase)}`.trim() : sentence;
  }
  const uniform = phase.loss_references.find((reference) => reference.id === "uniform");
  if (phase.metric === "pearson") {
    const prior = phase.loss_references.find((reference) => reference.id === "prior");
    return `Always predicting the mean of the training rows has a loss of ${prior ? `${nats(prior.value)} on the validation rows` : "about 1"}.`;
  }
  const guess = uniform ? `A guess costs ${nats(uniform.value)} nats` : "";
  if (isAlone) return guess && `${guess}.`;
  return guess ? `${guess}; the axis is not that of the other phase.` : "The axis is not that of the other phase.";
}

export function scoreSentence(phase: Phase): string {
  const commonest = phase.accuracy_references[0];
  if (phase.stage === "pretrain") {
    return commonest
      ? `Always naming the commonest token would find ${percent(commonest.value)} of them.`
      : `How many of the ${predictedTokens(phase)} the model names.`;
  }
  const kept = phase.evaluations.find((row) => row.is_best);
  if (kept) return keptSentence(phase, epochWriter(phase)(kept.epoch));
  if (phase.objective === "replies") return `How many of the held-out ${predictedTokens(phase)} the model predicts.`;
  return phase.metric === "accuracy"
    ? "How many of the held-out texts get their label."
    : "On the held-out texts.";
}

/** Which weights are kept, and by what, which may be another figure than the chart has; with too few validation rows no
 * epoch is chosen, and with several seeds their mean may be delivered. */
function keptSentence(phase: Phase, epoch: string): string {
  const { trials, shown_trial: shown, averaged_trials: averaged } = phase;
  const trial = trials.find((each) => each.trial === shown);
  const best = phase.objective === "replies" ? "lowest loss on the validation replies" : `best validation ${metricTitle(trial?.metric ?? phase.metric)}`;
  const kept = trial?.stopped === "updates"
    ? "The last weights are kept, since there are too few validation rows to choose by"
    : `The checkpoint of epoch ${epoch} is kept, the one with the ${best}`;
  return `${kept}${averaged.length > 0 ? `; the mean of the weights of ${count(averaged.length)} seeds is delivered` : ""}.`;
}

/** Whether the figures of single updates are on the scale of those of validation: the training loss may be weighted by
 * class, that of a hybrid is the mean of two objectives, as its accuracy is, and other metrics have no training figures. */
export function stepsShown({ objective, evaluations, metric }: Phase, of: "loss" | "score"): boolean {
  if (objective === "hybrid") return false;
  return of === "loss" ? evaluations.every((row) => row.weighted_loss === null) : metric === "accuracy";
}

function lines(phase: Phase, of: "loss" | "score"): Line[] {
  const rows = phase.evaluations;
  const steps = phase.steps;
  const values = stepsShown(phase, of) ? steps[of === "loss" ? "loss" : "accuracy"] : [];
  const training = of === "loss" ? "train_loss" : "train_accuracy";
  return [
    { name: "step", kind: "steps", points: stepPoints(steps, values) },
    { name: "validation", kind: "validation", points: rows.map((row) => validationPoint(row, of)) },
    {
      name: "training",
      kind: "training",
      points: rows.flatMap((row): Point[] => (row[training] === null ? [] : [{ x: row.epoch, y: row[training] }])),
    },
  ];
}

function validationPoint(row: Evaluation, of: "loss" | "score"): Point {
  if (of === "loss") return { x: row.epoch, y: row.loss };
  return { x: row.epoch, y: row.score, low: row.score_low, high: row.score_high };
}

function stepPoints(steps: StepSeries, values: (number | null)[]): Point[] {
  return values.flatMap((y, index): Point[] => {
    const x = steps.epoch[index];
    return y === null || x == null ? [] : [{ x, y }];
  });
}

/** An event at a step; none where the phase has not come so far, since the axis ends where the phase is. */
export function eventsAt(phase: Phase, step: number, name: string): { x: number; name: string }[] {
  const { evaluations, steps } = phase;
  const last = evaluations.at(-1);
  const reached = Math.max(last?.step ?? 0, stepsShown(phase, "loss") ? (steps.step.at(-1) ?? 0) : 0);
  const [epoch, at] = last && last.step > 0 ? [last.epoch, last.step] : [steps.epoch.at(-1) ?? 0, steps.step.at(-1) ?? 0];
  return at > 0 && step <= reached ? [{ x: (step * epoch) / at, name }] : [];
}

function keptEpoch(phase: Phase): number | null {
  return phase.evaluations.find((row) => row.is_best)?.epoch ?? null;
}

/** The decimals of an epoch where the largest is this one: of a large corpus, only a small part of one may be read. */
export function epochDecimals(largest: number): number {
  return largest > 0 && largest < 1 ? 3 + Math.floor(-Math.log10(largest)) : 2;
}

export function epochs(value: number, largest = value): string {
  return Number.isInteger(value) ? count(value) : fixed(value, epochDecimals(largest)).replace(/\.?0+$/, "");
}

export function largestEpoch({ evaluations, steps }: Phase): number {
  return Math.max(0, evaluations.at(-1)?.epoch ?? 0, steps.epoch.at(-1) ?? 0);
}

/** Writes the epochs of a phase, all with the same decimals, so that no two of an axis read alike. */
function epochWriter(phase: Phase): (value: number) => string {
  const largest = largestEpoch(phase);
  return (value) => epochs(value, largest);
}

function tick(value: number): string {
  return significant(value, 2);
}

function EvaluationTable({ phase, of }: { phase: Phase; of: "loss" | "score" }) {
  const write = of === "loss" ? nats : (value: number) => writeMetric(phase.metric, value);
  const name = of === "loss" ? of : metricTitle(phase.metric);
  return (
    <Table
      caption={`${phaseTitle(phase)}: ${name} at every evaluation`}
      rows={phase.evaluations}
      columns={[
        { name: "Epoch", value: (row) => fixed(row.epoch, epochDecimals(largestEpoch(phase))), isNumber: true },
        { name: "Step", value: (row) => count(row.step), isNumber: true },
        { name: "Training", value: (row) => or(of === "loss" ? row.train_loss : row.train_accuracy, write), isNumber: true },
        { name: "Validation", value: (row) => write(row[of]), isNumber: true },
      ]}
    />
  );
}

/** Figures of the optimiser, step by step. */
export function StepCharts({ phase }: { phase: Phase }) {
  const charts = [
    { title: "Learning rate", values: phase.steps.learning_rate, write: (value: number) => significant(value, 2) },
    { title: "Gradient norm", values: phase.steps.grad_norm, write: (value: number) => significant(value, 3) },
    { title: "Tokens per second", values: phase.steps.tokens_per_second, write: (value: number) => count(Math.round(value)) },
  ];
  const { kept, logged } = phase.steps;
  const thinned = kept < logged ? ` Of ${count(logged)} logged points ${count(kept)} are kept, the extremes of each stretch.` : "";
  return (
    <div class="step-charts">
      <h4>{phaseTitle(phase)}</h4>
      {thinned && <p class="reading">{thinned.trim()}</p>}
      <div class="three">
        {charts.map(({ title, values, write }) => (
          <LineChart
            key={title}
            title={title}
            height={140}
            lines={[{ name: title.toLowerCase(), kind: "training", points: stepPoints(phase.steps, values) }]}
            write={write}
            writeTick={shortTick}
            unit="epoch"
            writeX={epochWriter(phase)}
            table={
              <Table
                caption={`${phaseTitle(phase)}: ${title.toLowerCase()} by step`}
                rows={phase.steps.step}
                columns={[
                  { name: "Step", value: (step) => count(step), isNumber: true },
                  { name: title, value: (_, index) => (values[index] == null ? NONE : write(values[index] as number)), isNumber: true },
                ]}
              />
            }
          />
        ))}
      </div>
    </div>
  );
}

function shortTick(value: number): string {
  if (value >= 1e6) return `${significant(value / 1e6, 2)}M`;
  if (value >= 1e4) return `${significant(value / 1e3, 2)}k`;
  return value !== 0 && value < 1e-3 ? scientific(value, 1) : significant(value, 2);
}
