// A typed text through tokens, embedding, layers, head and decision, as tracing/prediction.py traces it.

import { argmax, contributionLogits, largestDifference, softmax } from "../prediction/arithmetic.ts";
import type { Attention, Contribution, PredictionTrace, Readout, Token } from "../trace.ts";
import { EmbeddingSpace, largest, range } from "./embedding.ts";
import { dot, inverseRms, type Pass } from "./network.ts";
import type { Pacer } from "./pacer.ts";
import type { Classifier, ModelPayload, Probe } from "./payload.ts";
import { giveReasons, headOf } from "./reasons.ts";
import { tokenize } from "./words.ts";

const ATTENTION_TOKENS = 64;
const ATTENTION_HEADS = 48; // over all layers

/** The trace of a clean text. `onPart` gets it without its reasons, which take longest, as soon as it is there. */
export async function tracePrediction(
  payload: ModelPayload,
  model: Classifier,
  space: EmbeddingSpace,
  text: string,
  pacer: Pacer,
  onPart?: (part: PredictionTrace) => void,
): Promise<PredictionTrace> {
  const { tokenizer, maxSeqLen, counts } = payload;
  const { network, labelNames } = model;
  const read = tokenize(tokenizer, text, tokenizer.encode(text), maxSeqLen, counts);
  const pass = await network.forward(network.embed(read.ids), pacer);
  const pooled = streamsOf(pass).map((stream) => Float32Array.from(network.pool(stream)));
  const readouts = pooled.map((each, layer) => describeReadout(model, each, layer));
  const { logits, probabilities } = readouts.at(-1)!;
  const contributions = contributionsOf(model, pass);
  const [index, second] = largest(range(0, logits.length), (label) => logits[label]!, 2) as [number, number?];
  const trace: PredictionTrace = {
    id: "typed",
    why: "typed",
    text,
    true_label: null,
    row: null,
    slice: null,
    label_names: labelNames,
    tokens: read.tokens,
    was_cut: read.wasCut,
    embedding: await space.describe(read.tokens, pacer),
    readouts,
    contributions,
    contributions_note: null,
    attention: describeAttention(model, pass, specialPositions(read.tokens)),
    head: {
      pooled: Array.from(pooled.at(-1)!),
      weight: labelNames.map((_, label) => Array.from(model.head.row(label))),
      bias: Array.from(model.bias),
      logits,
    },
    decision: {
      probabilities,
      label: labelNames[index]!,
      index,
      probability: probabilities[index]!,
      margin: second === undefined ? 1 : probabilities[index]! - probabilities[second]!,
      flip: null,
      labels: [],
      thresholds: [],
      score: null,
      mean: null,
      deviation: null,
    },
    reasons: null,
    task: "classification",
    text_pair: null,
    word: null,
    entities: [],
    read_position: null,
    stack: null,
    contribution_error: largestDifference(logits, contributionLogits(contributions, logits.length)),
    head_error: 0, // the logits are W h + b of the numbers above
    prediction_error: 0, // there is no other computation in the browser
  };
  onPart?.(trace);
  const found = await giveReasons(model, tokenizer.special.mask, read.ids, read.words, logits, pacer);
  if (found === null) return trace;
  return { ...trace, decision: { ...trace.decision, flip: found.flip }, reasons: found.reasons };
}

function specialPositions(tokens: Token[]): number[] {
  return tokens.filter((token) => token.is_special).map((token) => token.position);
}

/** The residual stream after the embedding and after each layer. */
export function streamsOf(pass: Pass): Float32Array[] {
  return [...pass.layers.map((layer) => layer.input), pass.final];
}

function describeReadout(model: Classifier, pooled: Float32Array, layer: number): Readout {
  const logits = headOf(model, pooled);
  const probe = model.probes?.[layer];
  return {
    layer,
    logits,
    probabilities: softmax(logits),
    label: model.labelNames[argmax(logits)]!,
    probe: probe === undefined ? null : describeProbe(probe, pooled, model.labelNames.length),
  };
}

function describeProbe(probe: Probe, pooled: Float32Array, classes: number): Readout["probe"] {
  const scores = probe.bias.map((bias, row) => bias + dot(probe.weight.row(row), 0, pooled, 0, pooled.length));
  const probabilities = new Array<number>(classes).fill(0);
  softmax(scores).forEach((probability, row) => (probabilities[probe.classes[row]!] = probability));
  const { validation_accuracy, shuffled_accuracy, random_weights_accuracy, n } = probe;
  return { probabilities, validation_accuracy, shuffled_accuracy, random_weights_accuracy, n };
}

/** What each term of the residual stream adds to the logits, at the scale of the final norm. */
function contributionsOf(model: Classifier, pass: Pass): Contribution[] {
  const { config, weights } = model.network;
  const size = config.hidden_size;
  const describe = (name: string, term: Float32Array): Contribution => {
    const mean = new Float64Array(size);
    for (let at = 0; at < term.length; at += size) {
      const scale = inverseRms(pass.final, at, size, config.norm_eps) / pass.tokens;
      for (let i = 0; i < size; i++) mean[i]! += term[at + i]! * scale * weights.finalNorm[i]!;
    }
    return { name, logits: model.labelNames.map((_, label) => dot(model.head.row(label), 0, mean, 0, size)) };
  };
  return [
    describe("embedding", pass.layers[0]?.input ?? pass.final),
    ...pass.layers.flatMap((layer, index) => [
      describe(`attention_${index + 1}`, layer.attended),
      describe(`feed_forward_${index + 1}`, layer.fed),
    ]),
    { name: "bias", logits: Array.from(model.bias) },
  ];
}

function describeAttention(model: Classifier, pass: Pass, special: number[]): Attention | null {
  const { num_layers: layers, num_heads: heads } = model.network.config;
  const { tokens } = pass;
  if (tokens > ATTENTION_TOKENS || layers * heads > ATTENTION_HEADS || !layers) return null;
  let bytes = "";
  let rowSumError = 0;
  const fractions: number[][] = [];
  for (const { attention } of pass.layers) {
    const fraction = new Array<number>(heads).fill(0);
    for (let row = 0; row < heads * tokens; row++) {
      const weights = attention.subarray(row * tokens, (row + 1) * tokens);
      rowSumError = Math.max(rowSumError, Math.abs(weights.reduce((sum, weight) => sum + weight, 0) - 1));
      const toSpecial = special.reduce((sum, position) => sum + weights[position]!, 0);
      fraction[Math.floor(row / tokens)]! += toSpecial / tokens;
      for (const weight of weights) bytes += String.fromCharCode(Math.round(weight * 255));
    }
    fractions.push(fraction);
  }
  return {
    shape: [layers, heads, tokens, tokens],
    weights: btoa(bytes),
    special_fraction: fractions,
    row_sum_error: rowSumError,
  };
}
