import { resolve } from "./pointer.ts";
import type { Check, Observation, PredictionTrace, RunTrace } from "./trace.ts";

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

export function shownChecks(trace: RunTrace): ShownCheck[] {
  return trace.checks.map((check) => {
    const recomputed = check.in_browser ? (RECOMPUTE[check.id]?.(trace, check.tolerance ?? TOLERANCE) ?? null) : null;
    const isDifferent = recomputed !== null && recomputed.isOk !== check.is_ok;
    const sentence = isDifferent
      ? `${check.sentence}; computed in this browser it ${recomputed.isOk ? "holds" : "does not hold"}: ${recomputed.sentence}`
      : check.sentence;
    return { check, recomputed, isOk: check.is_ok && (recomputed?.isOk ?? true), sentence };
  });
}

type Recompute = (trace: RunTrace, tolerance: number) => Recomputed | null;

const RECOMPUTE: Record<string, Recompute> = {
  I05: (trace, tolerance) => largest(trace.predictions.flatMap((p) => differences(headLogits(p), p.head.logits)), tolerance),
  I06: (trace, tolerance) =>
    largest(trace.predictions.flatMap((p) => differences(softmax(p.head.logits), p.decision.probabilities)), tolerance),
  I07: (trace) => labels(trace.predictions),
  I09: (trace, tolerance) => largest(trace.predictions.flatMap(attributionGap), tolerance),
  I12: (trace) => totals(trace),
  I17: (trace) => findings(trace),
};

/** pooled (hidden) times weight (classes, hidden) plus bias. */
export function headLogits({ head }: PredictionTrace): number[] {
  return head.weight.map((row, index) => row.reduce((sum, w, place) => sum + w * (head.pooled[place] ?? 0), head.bias[index] ?? 0));
}

export function softmax(logits: number[]): number[] {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

function differences(found: number[], expected: number[]): number[] {
  return expected.map((value, index) => Math.abs(value - (found[index] ?? Number.NaN)));
}

function largest(values: number[], tolerance: number): Recomputed | null {
  if (values.length === 0) return null;
  const worst = values.some(Number.isNaN) ? Number.NaN : Math.max(...values);
  return {
    isOk: worst <= Math.max(tolerance, TOLERANCE),
    compared: values.length,
    sentence: `the largest difference is ${worst.toExponential(1)}`,
  };
}

function labels(predictions: PredictionTrace[]): Recomputed | null {
  if (predictions.length === 0) return null;
  const wrong = predictions.filter(({ decision, label_names }) => {
    const top = decision.probabilities.indexOf(Math.max(...decision.probabilities));
    return decision.index !== top || decision.label !== label_names[top];
  });
  return {
    isOk: wrong.length === 0,
    compared: predictions.length,
    sentence: `${wrong.length} of ${predictions.length} labels are not the likeliest class`,
  };
}

/** The sum of the attributions minus what they should sum to, beside the error that the document states. */
function attributionGap({ reasons }: PredictionTrace): number[] {
  if (reasons === null) return [];
  const sum = reasons.integrated_gradients.reduce((total, value) => total + value, 0);
  const gap = sum - (reasons.score - reasons.masked_score);
  return [Math.abs(gap - reasons.completeness_error)];
}

function totals({ errors, phases }: RunTrace): Recomputed | null {
  if (errors === null) return null;
  const total = errors.confusion.flat().reduce((sum, cell) => sum + cell, 0);
  const right = errors.confusion.reduce((sum, row, index) => sum + (row[index] ?? 0), 0);
  const test = phases.finetune?.test.find((result) => result.seed === errors.seed);
  const isAccuracy = test === undefined || Math.abs(right / total - test.accuracy) < 1e-4;
  return {
    isOk: total === errors.n && isAccuracy,
    compared: test === undefined ? 1 : 2,
    sentence: `${total} rows in the matrix, ${errors.n} tested; ${right} of them right`,
  };
}

/** Every number of an observation or an insight is one that its pointers name, or follows from two of them. */
function findings(trace: RunTrace): Recomputed | null {
  const { pretrain, finetune, scratch } = trace.phases;
  const phases = [pretrain, finetune, scratch].filter((phase) => phase !== null);
  const observations: Pick<Observation, "numbers" | "pointers" | "rule">[] = [
    ...phases.flatMap((phase) => phase.evaluations.flatMap((row) => row.observations)),
    ...trace.insights,
  ];
  const numbers = observations.flatMap((o) => Object.values(o.numbers).map((value) => ({ o, value })));
  if (numbers.length === 0) return null;
  const lost = numbers.filter(({ o, value }) => !derives(value, o.pointers, trace));
  return {
    isOk: lost.length === 0,
    compared: numbers.length,
    sentence:
      lost.length === 0
        ? `all ${numbers.length} numbers are where their pointers say`
        : `${lost.length} of ${numbers.length} numbers do not follow from their pointers, first of rule ${lost[0]?.o.rule}`,
  };
}

/** Whether a number is among the pointed values, or is a difference of two of them of the same name, or counts them. */
export function derives(value: number, pointers: string[], document: unknown): boolean {
  const pointed = pointers.map((pointer) => resolve(document, pointer));
  if (pointed.some((target) => target === undefined)) return false;
  const named = pointed.map(leaves);
  const isNear = (other: number) => Math.abs(value - other) <= 1e-4 * Math.max(1, Math.abs(value));
  const isValue = named.some((values) => [...values.values()].some((leaf) => isNear(leaf) || isNear(Math.abs(leaf))));
  return isValue || sameNamed(named).some(([a, b]) => isNear(a - b) || isNear(Math.hypot(a, b))) || counts(pointers).has(value);
}

/** Pairs of numbers that stand under the same name in two of the pointed values. */
function sameNamed(named: Map<string, number>[]): [number, number][] {
  return named.flatMap((first) =>
    named.flatMap((second) =>
      first === second
        ? []
        : [...first].flatMap(([name, a]): [number, number][] => (second.has(name) ? [[a, second.get(name) as number]] : [])),
    ),
  );
}

/** How many things are pointed at, with or without the row itself, and how many rows lie between two of them. */
function counts(pointers: string[]): Set<number> {
  const places = pointers.map((pointer) => Number(/\/(\d+)$/.exec(pointer)?.[1])).filter(Number.isInteger);
  const between = places.flatMap((a) => places.map((b) => a - b));
  return new Set([pointers.length, pointers.length - 1, ...between]);
}

function leaves(target: unknown): Map<string, number> {
  if (typeof target === "number") return new Map([["", target]]);
  const found = new Map<string, number>();
  if (Array.isArray(target)) found.set("length", target.length);
  if (target === null || typeof target !== "object") return found;
  for (const [name, value] of Object.entries(target)) if (typeof value === "number") found.set(name, value);
  return found;
}
