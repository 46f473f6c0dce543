// The sums of one prediction, carried out again in the browser. No drawing here.
import { significant } from "../format.ts";
import type { Attention, Contribution, Head, LayerProbe, PredictionTrace, Readout, StackedDecision, Token } from "../trace.ts";

/** A logit that is summed in another order differs in its last digits; more than this is a mistake. */
export const TOLERANCE = 1e-3;

export function softmax(logits: readonly number[]): number[] {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The probability of each label by itself. */
export function sigmoid(logits: readonly number[]): number[] {
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}

/** The nearest rival of the label that is explained; null where labels do not exclude each other, or for a number. */
export function rivalOf({ task, head, decision }: Pick<PredictionTrace, "task" | "head" | "decision">): number | null {
  if (task === "multilabel" || task === "regression") return null;
  return rivalsOf(head.logits, decision.index, 1)[0] ?? decision.index;
}

export function argmax(values: readonly number[]): number {
  let best = 0;
  values.forEach((value, index) => {
    if (value > (values[best] ?? -Infinity)) best = index;
  });
  return best;
}

/** The logits that the head's products and bias add up to, class by class. */
export function headLogits(head: Head): number[] {
  return head.weight.map((row, label) => {
    const products = row.reduce((sum, weight, index) => sum + weight * (head.pooled[index] ?? 0), 0);
    return products + (head.bias[label] ?? 0);
  });
}

export interface Product {
  component: number;
  pooled: number;
  /** weight of the label minus weight of the rival */
  weight: number;
  product: number;
}

/** What each component of the pooled vector adds to the margin of `label` over `rival`, or to its logit, largest first. */
export function headProducts(head: Head, label: number, rival: number | null): Product[] {
  return head.pooled
    .map((pooled, component) => {
      const against = rival === null ? 0 : (head.weight[rival]?.[component] ?? 0);
      const weight = (head.weight[label]?.[component] ?? 0) - against;
      return { component, pooled, weight, product: pooled * weight };
    })
    .sort((a, b) => b.product - a.product);
}

export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Infinity;
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - (b[index] ?? NaN))), 0);
}

/** Whether two results of the same sum agree; the tolerance grows with the size of the values, of which `unit` is the smallest. */
export function agrees(a: readonly number[], b: readonly number[], tolerance = TOLERANCE, unit = 1): boolean {
  const size = b.reduce((largest, value) => Math.max(largest, Math.abs(value)), unit);
  return largestDifference(a, b) <= tolerance * size;
}

/** The classes nearest to `label`, by value, without it: the first is the runner-up. */
export function rivalsOf(values: readonly number[], label: number, limit = 4): number[] {
  return values
    .map((value, index) => ({ value, index }))
    .filter(({ index }) => index !== label)
    .sort((a, b) => b.value - a.value)
    .slice(0, limit)
    .map(({ index }) => index);
}

/** What each component adds to the margin of `label` over `rival`, with the running total before it. */
export function marginSteps(
  contributions: readonly Contribution[],
  label: number,
  rival: number | null,
): { name: string; from: number; value: number }[] {
  let total = 0;
  return contributions.map(({ name, logits }) => {
    const value = (logits[label] ?? 0) - (rival === null ? 0 : (logits[rival] ?? 0));
    const step = { name, from: total, value };
    total += value;
    return step;
  });
}

/** The logits that the contributions add up to. */
export function contributionLogits(contributions: readonly Contribution[], classes: number): number[] {
  return Array.from({ length: classes }, (_, label) =>
    contributions.reduce((sum, { logits }) => sum + (logits[label] ?? 0), 0),
  );
}

export interface Returned {
  label: string;
  /** of the label; null where the task gives it none */
  probability: number | null;
  /** null where no true label is known, or where it is not compared as a whole */
  isRight: boolean | null;
}

/** The prediction that `pretune predict` returns: that of the stack where there is one, or else of the network. */
export function returned(prediction: PredictionTrace): Returned {
  const { task, true_label: truth, decision, stack } = prediction;
  const { label, probability } = stack ?? decision;
  const score = task !== "regression" ? null : stack === null ? decision.score : stackedScore(stack);
  return {
    label: score === null ? label : significant(score, 4),
    probability: task === "classification" ? probability : null,
    isRight: truth !== null && (task === "classification" || task === "multilabel") ? truth === label : null,
  };
}

export interface StackedPart {
  name: string;
  /** added to the lead of the label, to its log-odds, or to the number */
  value: number;
  /** of all that is added or taken away; null for the bias of a number, which is no part of what the text says */
  fraction: number | null;
}

/** What each part of a stack adds to its decision. */
export function stackedParts(task: PredictionTrace["task"], { parts, index, probabilities }: StackedDecision): StackedPart[] {
  const rival = task === "classification" || task === "tokens" ? rivalsOf(probabilities, index, 1)[0] : undefined;
  const values = parts.map(({ logits }) => (logits[index] ?? 0) - (rival === undefined ? 0 : (logits[rival] ?? 0)));
  const counts = parts.map(({ name }) => task !== "regression" || name !== "bias");
  const total = values.reduce((sum, value, place) => sum + (counts[place] ? Math.abs(value) : 0), 0);
  return parts.map(({ name }, place) => {
    const value = values[place] ?? 0;
    return { name, value, fraction: counts[place] ? Math.abs(value) / (total || 1) : null };
  });
}

/** The scores that the parts of a stack add up to. */
export function stackedSums({ parts }: StackedDecision): number[] {
  return contributionLogits(parts, parts[0]?.logits.length ?? 0);
}

/** The number that a stack predicts: the sum of its parts, which has more digits than the label. If large parts cancel
 * out, it is the label: the parts, rounded to six digits, do not add up to it. */
function stackedScore(stack: StackedDecision): number | null {
  const [sum = null] = stackedSums(stack);
  const written = Number(stack.label); // NaN where texts are left out
  return sum === null || Number.isNaN(written) || Number(sum.toPrecision(4)) === written ? sum : written;
}

export interface Joined {
  holds: boolean;
  /** what the tokens do not give back; empty where they give back everything */
  lost: string;
}

/** The places of the first tokens of the windows after the first one: there, the special tokens at the end of a window
 * and at the beginning of the next stand side by side; some tokenizers add only one of them. A row of two texts has no
 * windows. */
function windowStarts(tokens: readonly Token[]): Set<number> {
  const places = tokens.flatMap((token, place) => (token.is_special ? [] : [place]));
  const around = Math.min(2, (places[0] ?? 0) + tokens.length - 1 - (places.at(-1) ?? 0));
  return new Set(places.filter((place, index) => index > 0 && around > 0 && place - places[index - 1]! > around));
}

/** In how many windows the model reads a text; 1 where it reads it at once. */
export function countWindows({ tokens, text_pair: pair }: Pick<PredictionTrace, "tokens" | "text_pair">): number {
  return pair === null ? 1 + windowStarts(tokens).size : 1;
}

/** What stands before each word where the words are found in the texts one after another: nothing, as in scripts that
 * write no blanks, a blank, or an ellipsis for what is left out. */
export function gapsBefore(texts: readonly string[], words: readonly string[]): string[] {
  let [place, reached] = [0, 0];
  return words.map((word, index) => {
    const found = texts.map((text, each) => (each < place ? -1 : text.indexOf(word, each === place ? reached : 0)));
    const next = found.findIndex((at) => at >= 0);
    const at = found[next] ?? -1;
    if (at < 0) return index === 0 ? "" : " ";
    const gap = next === place ? (texts[next] ?? "").slice(reached, at) : " ";
    [place, reached] = [next, at + word.length];
    return index === 0 || gap === "" ? "" : gap.trim() === "" ? " " : " … ";
  });
}

/** Whether the tokens, put together, give the text, but for the space between them. Offsets count code points, so the
 * text is taken apart into code points first. Where a text was cut, the tokens leave out one stretch, or two in the
 * sentence of a cloze, which has both texts of a pair, or with windows those between them. */
export function joinTokens(text: string, tokens: readonly Token[], wasCut: boolean, mostCuts = 1): Joined {
  const characters = Array.from(text);
  const between = (start: number, end: number) => characters.slice(start, end).join("");
  const starts = windowStarts(tokens);
  const gaps: string[] = [];
  let reached = 0;
  for (const [place, { start, end, surface, is_special: isSpecial }] of tokens.entries()) {
    if (start === null) reached = behindSpecial(characters, reached, surface);
    if (start === null || end === null || isSpecial) continue;
    if (start > reached && !(wasCut && starts.has(place))) gaps.push(between(reached, start));
    if (between(start, end) !== surface) return { holds: false, lost: between(start, end) };
    reached = Math.max(reached, end);
  }
  gaps.push(between(reached, characters.length));
  const lost = gaps.filter((gap) => gap.trim() !== "");
  for (let cut = 0; wasCut && starts.size === 0 && lost.length > 0 && cut < mostCuts; cut++) lost.splice(lost.indexOf(longest(lost)), 1);
  return { holds: lost.length === 0, lost: lost.join("") };
}

const MASK = "[MASK]"; // as the text of a cloze has it, whatever the tokenizer of its base calls it

/** The place behind a special token that the text itself has next, or else the place reached. */
function behindSpecial(characters: readonly string[], reached: number, surface: string): number {
  let start = reached;
  while (characters[start]?.trim() === "") start++;
  for (const written of [surface, MASK].map((each) => Array.from(each))) {
    if (written.length > 0 && written.every((character, place) => characters[start + place] === character)) return start + written.length;
  }
  return reached;
}

function longest(texts: readonly string[]): string {
  return texts.reduce((a, b) => (b.length > a.length ? b : a), "");
}

/** Reads the weights of one layer and head: rows are the tokens that read, columns the tokens that are read. */
export function attentionWeights(attention: Attention, layer: number, head: number): number[][] {
  const [, heads = 0, length = 0] = attention.shape;
  const bytes = bytesOf(attention.weights);
  const start = (layer * heads + head) * length * length;
  return Array.from({ length }, (_, row) =>
    Array.from({ length }, (_, column) => (bytes[start + row * length + column] ?? 0) / 255),
  );
}

function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Spearman's rank correlation; null for fewer than three values, or where one of the lists has no two different ones. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number | null {
  if (a.length !== b.length || a.length < 3) return null;
  const x = ranks(a);
  const y = ranks(b);
  const mean = (a.length + 1) / 2;
  let product = 0;
  let left = 0;
  let right = 0;
  x.forEach((rank, index) => {
    const dx = rank - mean;
    const dy = (y[index] ?? mean) - mean;
    product += dx * dy;
    left += dx * dx;
    right += dy * dy;
  });
  return left === 0 || right === 0 ? null : product / Math.sqrt(left * right);
}

/** Ranks from 1; equal values share the mean of their ranks. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const result = new Array<number>(values.length).fill(0);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && order[end + 1]?.value === order[start]?.value) end++;
    for (let at = start; at <= end; at++) result[order[at]!.index] = (start + end) / 2 + 1;
    start = end + 1;
  }
  return result;
}

/** The first read-out whose probe beats both of its controls by more than two standard errors; null where none does. */
export function firstDecodable(readouts: readonly Readout[]): { layer: number; probe: LayerProbe } | null {
  for (const { layer, probe } of readouts) {
    if (probe !== null && isAboveControls(probe)) return { layer, probe };
  }
  return null;
}

export function isAboveControls(probe: LayerProbe): boolean {
  const accuracy = probe.validation_accuracy;
  const control = Math.max(probe.shuffled_accuracy, probe.random_weights_accuracy);
  const variance = (accuracy * (1 - accuracy) + control * (1 - control)) / Math.max(probe.n, 1);
  return accuracy - control > 2 * Math.sqrt(variance);
}
