import type { IntervalValue } from "./charts/intervals.tsx";
import type { ComparedModel, Comparison, Phase, RunTrace, TestResult } from "./trace.ts";

const SHORT_NAMES: Record<string, string> = {
  tfidf: "TF-IDF + log. reg.",
  majority: "majority",
};

export function shortName(kind: string, name: string): string {
  return SHORT_NAMES[kind] ?? name;
}

/** The kinds of a delivered model that is not one seed: the network with linear models, a student of the corpus, or the
 * mean of the seeds. The first that is there is delivered. */
const DELIVERED = ["stack", "student", "averaged"];

/** Whether a kind of model that a verdict is about is the one that is delivered, and not one seed of the network alone. */
export function isDelivered(kind: string | undefined): boolean {
  return kind !== undefined && DELIVERED.includes(kind);
}

/** Whether a model is a single one, of which a number of seeds says nothing: as delivered, or on the way to that. */
export function isSingle({ kind }: Pick<ComparedModel, "kind">): boolean {
  return kind === "teacher" || isDelivered(kind);
}

/** The kinds of the pre-trained network, and of the model as delivered if that is another one. */
export function ourKinds(models: Pick<ComparedModel, "kind">[]): string[] {
  const delivered = DELIVERED.find((each) => models.some(({ kind }) => kind === each));
  return delivered === undefined ? ["pretrained"] : ["pretrained", delivered];
}

/** Whether linear models are stacked on the network, so that it is not, alone, the model that predicts. */
export function hasStack(comparison: Comparison | null): boolean {
  return comparison?.models.some(({ kind }) => kind === "stack") ?? false;
}

/** The name of a model, by its kind or its name; what is not in the comparison is named as it came. */
export function modelName(comparison: Comparison, kind: string): string {
  return comparison.models.find((model) => model.kind === kind || model.name === kind)?.name ?? kind;
}

/** How many classes the task has, as the loss of a uniform guess says; null before fine-tuning has begun. */
export function numClasses(trace: RunTrace): number | null {
  const { finetune, scratch } = trace.phases;
  const phase = finetune ?? scratch;
  if (phase?.metric !== "accuracy") return null;
  const uniform = phase.loss_references.find((reference) => reference.id === "uniform");
  return uniform ? Math.round(Math.exp(uniform.value)) : null;
}

/** Whether the run has, or may come to have, a model that a typed text can be given to: one that labels texts, or one
 * that fills in words. A model of conversations does neither, and one that only predicts the next token does not, either. */
export function hasModelOfTexts({ phases, stages, run }: Pick<RunTrace, "phases" | "stages" | "run">): boolean {
  const { pretrain } = phases;
  const tuned = phases.finetune ?? phases.scratch;
  if (tuned !== null && tuned.objective !== "replies") return true;
  if (tuned === null && stages.some(({ name, status }) => LABELLED.includes(name) && status !== "missing")) return true;
  if (pretrain !== null) return pretrain.objective !== "causal";
  return tuned === null && run.status !== "finished";
}

/** The stages that only a run with labels has. */
const LABELLED = ["split", "prepare"];

/** The test of the delivered weights: of a student or the mean of the seeds, which have no seed themselves, or of one
 * seed. The other seeds are tested before it, so it need not be the first one. */
export function deliveredTest(phase: Phase | null): TestResult | undefined {
  if (phase?.is_self_trained) return phase.test.find((test) => test.is_student);
  if (phase?.averaged_trials.length) return phase.test.find((test) => test.seed === null);
  const trial = phase?.trials.find((candidate) => candidate.trial === phase.shown_trial);
  return trial ? phase?.test.find((test) => test.seed === trial.seed) : phase?.test[0];
}

/** The score of a model as a plot of intervals draws it. */
export function modelValue({ score, low, high, seeds }: ComparedModel): IntervalValue {
  return { value: score, low, high, seeds };
}
