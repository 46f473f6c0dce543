// A masked word through the layers of the pre-trained model, as tracing/fill.py traces it.

import type { FillReadout, FillTrace, WordGuess } from "../trace.ts";
import { largest, range } from "./embedding.ts";
import { multiply, normalize } from "./network.ts";
import type { Pacer } from "./pacer.ts";
import type { LanguageModel, ModelPayload } from "./payload.ts";
import { streamsOf } from "./prediction.ts";
import { MOST_PRODUCTS } from "./reasons.ts";
import { tokenize, type Word } from "./words.ts";

export const MASK = "[MASK]";
const GUESSES = 5;

/** The trace of a clean text at its first [MASK]. */
export async function traceFill(
  payload: ModelPayload,
  model: LanguageModel,
  text: string,
  pacer: Pacer,
): Promise<FillTrace> {
  const { tokenizer, counts, maxSeqLen } = payload;
  const encoded = tokenizer.encodeForFill(text);
  if (encoded.ids.length > maxSeqLen) {
    const found = `The text has ${encoded.ids.length} tokens; expected at most ${maxSeqLen}.`;
    throw new Error(`${found} Shorten it around ${MASK}.`);
  }
  const read = tokenize(tokenizer, text, encoded, encoded.ids.length, counts);
  const position = read.ids.indexOf(tokenizer.special.mask);
  if (position < 0) throw new Error(`The text has no ${MASK}; put it in place of a word, as in "The ${MASK} is red."`);
  const readouts: FillReadout[] = [];
  const { network } = model;
  for (const [layer, stream] of streamsOf(await network.forward(network.embed(read.ids), pacer)).entries()) {
    const logits = await scoreWords(model, stream, position, pacer);
    readouts.push({ layer, predictions: bestWords(payload, logits), probability: null, rank: null });
  }
  const all = withMasks(read.words, read.ids, tokenizer.special.mask);
  const words = all.length * network.productsOf(read.ids.length) <= MOST_PRODUCTS ? all : []; // a long text is left out
  return {
    id: "typed",
    masked_text: text,
    true_word: null,
    tokens: read.tokens,
    mask_position: position,
    predictions: readouts.at(-1)!.predictions,
    readouts,
    words: words.map((word) => word.surface),
    occlusion: await occlude(payload, model, read.ids, words, position, pacer),
  };
}

async function scoreWords(
  model: LanguageModel,
  stream: Float32Array,
  position: number,
  pacer: Pacer,
): Promise<Float32Array> {
  const { config, weights } = model.network;
  const row = stream.subarray(position * config.hidden_size, (position + 1) * config.hidden_size);
  return multiply(normalize(row, weights.finalNorm, config.norm_eps), model.head, pacer);
}

function bestWords({ tokenizer }: ModelPayload, logits: Float32Array): WordGuess[] {
  const total = logOfSum(logits);
  return largest(ordinaryIds(logits, tokenizer), (id) => logits[id]!, GUESSES).map((id) => ({
    word: tokenizer.word(id),
    probability: Math.exp(logits[id]! - total),
  }));
}

/** How far the log-probability of the first guess falls when a word is masked, too. */
async function occlude(
  { tokenizer }: ModelPayload,
  model: LanguageModel,
  ids: number[],
  words: Word[],
  position: number,
  pacer: Pacer,
): Promise<number[]> {
  const { network } = model;
  const scoresOf = async (row: number[]): Promise<Float32Array> =>
    scoreWords(model, (await network.forward(network.embed(row), pacer)).final, position, pacer);
  const scores = await scoresOf(ids);
  const [guess] = largest(ordinaryIds(scores, tokenizer), (id) => scores[id]!, 1) as [number];
  const before = scores[guess]! - logOfSum(scores);
  const falls: number[] = [];
  for (const word of words) {
    const row = ids.map((id, place) => (word.positions.includes(place) ? tokenizer.special.mask : id));
    const after = await scoresOf(row);
    falls.push(before - (after[guess]! - logOfSum(after)));
  }
  return falls;
}

/** The words of the text in order, with each mask as a word of its own. */
function withMasks(words: Word[], ids: number[], maskId: number): Word[] {
  const masks = range(0, ids.length).filter((position) => ids[position] === maskId);
  return [...words, ...masks.map((position) => ({ surface: MASK, positions: [position] }))].sort(
    (a, b) => a.positions[0]! - b.positions[0]!,
  );
}

function ordinaryIds(logits: Float32Array, tokenizer: ModelPayload["tokenizer"]): number[] {
  return range(0, Math.min(logits.length, tokenizer.vocabSize)).filter((id) => !tokenizer.isSpecial(id));
}

function logOfSum(logits: Float32Array): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}
