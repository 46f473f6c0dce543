import { evaluate } from "./expression.ts";
import { scientific } from "./format.ts";
import { resolve } from "./pointer.ts";
import { headLogits, sigmoid, softmax } from "./prediction/arithmetic.ts";
import type { Check, Insight, Observation, PredictionTrace, RunTrace } from "./trace.ts";

// Some invariants of the document, computed again where the reader is. What is not in the document is not computed.

/** What the browser found; null where the document holds nothing to compute it from. */
export interface Recomputed {
  isOk: boolean;
  /** how many values were compared */
  compared: number;
  /** the largest difference, or what does not hold */
  sentence: string;
}

/** A check of the document with what this browser found. It fails if either does. */
export interface ShownCheck {
  check: Check;
  recomputed: Recomputed | null;
  isOk: boolean;
  sentence: string;
}

const TOLERANCE = 1e-3; // the document keeps six significant digits
const ROUNDING = 2e-5; // relative, of a number computed from others with six significant digits

export function shownChecks(trace: RunTrace): ShownCheck[] {
  return trace.checks.map((check) => {
    const recomputed = check.in_browser ? (RECOMPUTE[check.id]?.(trace, check.tolerance ?? TOLERANCE) ?? null) : null;
    const isDifferent = recomputed !== null && recomputed.isOk !== check.is_ok;
    const sentence = isDifferent
      ? `${check.sentence.replace(/\.$/, "")}; computed in this browser it ${recomputed.isOk ? "holds" : "does not hold"}: ${recomputed.sentence}.`
      : check.sentence;
    return { check, recomputed, isOk: check.is_ok && (recomputed?.isOk ?? true), sentence };
  });
}

type Recompute = (trace: RunTrace, tolerance: number) => Recomputed | null;

const RECOMPUTE: Record<string, Recompute> = {
  I05: (trace, tolerance) => largest(trace.predictions.flatMap((p) => differences(headLogits(p.head), p.head.logits)), tolerance),
  I06: (trace, tolerance) =>
    largest(trace.predictions.flatMap((p) => differences(...decided(p), Math.max(unitOf(p), Math.abs(p.decision.mean ?? 0)))), tolerance),
  I07: (trace) => labels(trace.predictions),
  I09: (trace, tolerance) => largest(trace.predictions.flatMap(attributionGap), tolerance),
  I12: (trace) => totals(trace),
  I17: (trace) => findings(trace),
};

/** What the decision of a task is made of, computed from the logits, and as the document has it. */
function decided({ task, head, decision }: PredictionTrace): [number[], number[]] {
  if (task === "regression") {
    return [[(decision.mean ?? NaN) + (decision.deviation ?? NaN) * (head.logits[0] ?? NaN)], [decision.score ?? NaN]];
  }
  return [(task === "multilabel" ? sigmoid : softmax)(head.logits), decision.probabilities];
}

/** What one logit is in the score: a number is in the units of its file, which may be of any size. */
function unitOf({ decision }: PredictionTrace): number {
  return Math.abs(decision.deviation || 1);
}

function differences(found: number[], expected: number[], unit = 1): number[] {
  const size = Math.max(unit, ...expected.map(Math.abs));
  return expected.map((value, index) => Math.abs(value - (found[index] ?? Number.NaN)) / size);
}

function largest(values: number[], tolerance: number): Recomputed | null {
  if (values.length === 0) return null;
  const worst = values.some(Number.isNaN) ? Number.NaN : Math.max(...values);
  return {
    isOk: worst <= Math.max(tolerance, TOLERANCE),
    compared: values.length,
    sentence: `the largest difference is ${scientific(worst)}`,
  };
}

function labels(predictions: PredictionTrace[]): Recomputed | null {
  if (predictions.length === 0) return null;
  const wrong = predictions.filter(({ task, decision, label_names, readouts }) => {
    if (task === "regression") return readouts.at(-1)?.label !== decision.label;
    if (task === "multilabel") {
      const reached = label_names.filter((_, label) => (decision.probabilities[label] ?? 0) >= (decision.thresholds[label] ?? 0.5));
      return reached.join("\n") !== decision.labels.join("\n");
    }
    const top = decision.probabilities.indexOf(Math.max(...decision.probabilities));
    return decision.index !== top || decision.label !== label_names[top];
  });
  return {
    isOk: wrong.length === 0,
    compared: predictions.length,
    sentence: `${wrong.length} of ${predictions.length} predictions have ${BROKEN_RULES[predictions[0]?.task ?? "classification"]}`,
  };
}

const BROKEN_RULES: Record<PredictionTrace["task"], string> = {
  classification: "another label than the most probable class",
  multilabel: "other labels than those that reach their thresholds",
  regression: "another number than the one read out after the last layer",
  tokens: "another label of the word than the most probable one",
};

const CONVERGED = 0.02; // of the change of the score; see run_trace/prediction_checks.py

/** How far the stated completeness error is from the one of the numbers; an error too large to be called converged fails. */
function attributionGap(prediction: PredictionTrace): number[] {
  const { reasons } = prediction;
  if (reasons === null) return [];
  const { score, masked_score, integrated_gradients, completeness_error, is_converged } = reasons;
  const change = score - masked_score;
  const error = integrated_gradients.reduce((total, value) => total + value, 0) - change;
  const unit = unitOf(prediction);
  const size = Math.max(unit, Math.abs(score), Math.abs(masked_score));
  const isFar = Math.abs(error) > Math.max(CONVERGED * Math.abs(change), 0.01 * unit) + TOLERANCE * size;
  return [is_converged && isFar ? Number.NaN : Math.abs(error - completeness_error) / size];
}

function totals({ errors, phases }: RunTrace): Recomputed | null {
  if (errors === null) return null;
  const tuned = phases.finetune;
  const test = tuned?.test.find((result) => result.seed === errors.seed && result.is_student === tuned.is_self_trained);
  const found = errors.label_sets?.micro_f1 ?? errors.scores?.pearson ?? errors.entities?.entity_f1;
  if (found !== undefined) {
    return largest(test === undefined ? [] : [Math.abs(found - test.score), Math.abs(errors.n - test.n)], TOLERANCE);
  }
  const total = errors.confusion.flat().reduce((sum, cell) => sum + cell, 0);
  const right = errors.confusion.reduce((sum, row, index) => sum + (row[index] ?? 0), 0);
  const isAccuracy = test === undefined || Math.abs(right / total - test.score) < 1e-4;
  return {
    isOk: total === errors.n && isAccuracy,
    compared: test === undefined ? 1 : 2,
    sentence: `${total} rows in the matrix, ${errors.n} tested; ${right} of them right`,
  };
}

/** Every number of an observation or an insight is computed again with its expression; every pointer leads somewhere. */
function findings(trace: RunTrace): Recomputed | null {
  const { pretrain, finetune, scratch } = trace.phases;
  const phases = [pretrain, finetune, scratch].filter((phase) => phase !== null);
  const all: Finding[] = [...phases.flatMap((phase) => phase.evaluations.flatMap((row) => row.observations)), ...trace.insights];
  if (all.length === 0) return null;
  const numbers = all.flatMap((finding) => Object.entries(finding.numbers).map(([name, value]) => ({ finding, name, value })));
  const lost = numbers.filter(({ finding, name, value }) => !derives(finding.derivations?.[name], value, trace));
  const dangling = all.filter((finding) => finding.pointers.some((pointer) => resolve(trace, pointer) === undefined));
  const wrong = lost.length + dangling.length;
  const first = lost[0]?.finding ?? dangling[0];
  return {
    isOk: wrong === 0,
    compared: numbers.length,
    sentence:
      wrong === 0
        ? `all ${numbers.length} numbers follow from this document`
        : `${wrong} of ${numbers.length} numbers do not follow from this document, first of rule ${first?.rule}`,
  };
}

type Finding = Observation | Insight;

function derives(expression: unknown, value: number, trace: RunTrace): boolean {
  try {
    const computed = evaluate(expression, trace);
    return typeof computed === "number" && Math.abs(computed - value) <= Math.max(1e-6, ROUNDING * Math.abs(value));
  } catch {
    return false;
  }
}
