// Why this label, as tracing/reasons.py and tracing/attribution.py compute it: integrated gradients and occlusion with
// [MASK] next to each other, a random control, and the fewest words that flip the label.

import { argmax, rankCorrelation, softmax } from "../prediction/arithmetic.ts";
import type { Flip, Reasons } from "../trace.ts";
import { largest, range } from "./embedding.ts";
import { dot } from "./network.ts";
import type { Pacer } from "./pacer.ts";
import type { Classifier } from "./payload.ts";
import type { Word } from "./words.ts";

const FIRST_STEPS = 64;
const QUICK_STEPS = 16; // of a large model or a long text, where a browser takes long
const MOST_STEPS = 512;
const TOKEN_STEPS = 32_768; // of the last doubling
const QUICK_ABOVE = 4e9; // multiplications of the first steps
const RELATIVE_TOLERANCE = 0.02;
const ABSOLUTE_TOLERANCE = 0.01;
const DELETED_WORDS = 24;
const RANDOM_ORDERS = 20;
const FEWEST_RANDOM_ORDERS = 5;
const CONTROL_PRODUCTS = 1e9; // multiplications for the random orders
export const MOST_PRODUCTS = 5e10; // for all reasons: about half a minute
const FLIPPED_WORDS = 4;
const FLIP_CANDIDATES = 32;

/** The class scores of a row of token ids. */
export async function classify(model: Classifier, ids: number[], pacer: Pacer): Promise<number[]> {
  const pass = await model.network.forward(model.network.embed(ids), pacer);
  return headOf(model, model.network.pool(pass.final));
}

/** W h + b. */
export function headOf(model: Classifier, pooled: ArrayLike<number>): number[] {
  return Array.from(model.bias, (bias, row) => bias + dot(model.head.row(row), 0, pooled, 0, pooled.length));
}

/** Whether the reasons for a text of these words can be computed in a browser in reasonable time. */
export function canGiveReasons(model: Classifier, ids: number[], words: Word[]): boolean {
  const rows = 2 * FIRST_STEPS + 3 * words.length + FEWEST_RANDOM_ORDERS * Math.min(words.length, DELETED_WORDS);
  return rows * model.network.productsOf(ids.length) <= MOST_PRODUCTS;
}

/** The reasons for the label and what flips it; null for a single class, no words, or a text that is too long. */
export async function giveReasons(
  model: Classifier,
  maskId: number,
  ids: number[],
  words: Word[],
  logits: number[],
  pacer: Pacer,
): Promise<{ reasons: Reasons; flip: Flip | null } | null> {
  if (logits.length < 2 || !words.length || !canGiveReasons(model, ids, words)) return null;
  const [first, second] = largest(range(0, logits.length), (index) => logits[index]!, 2) as [number, number];
  const masking = new Masking(model, maskId, ids, words, first, second, pacer);
  const score = masking.margin(logits);
  const maskedScore = await masking.score(range(0, words.length));
  const gradients = await masking.integrateGradients(score - maskedScore);
  const occlusion: number[] = [];
  for (let word = 0; word < words.length; word++) occlusion.push(score - (await masking.score([word])));
  const order = largest(range(0, words.length), (word) => gradients.words[word]!, words.length);
  const random = await masking.deleteAtRandom(score);
  const reasons: Reasons = {
    label: model.labelNames[first]!,
    runner_up: model.labelNames[second]!,
    score,
    masked_score: maskedScore,
    words: words.map((word) => word.surface),
    integrated_gradients: gradients.words,
    steps: gradients.steps,
    completeness_error: gradients.error,
    is_converged: gradients.isConverged,
    occlusion,
    rank_correlation: rankCorrelation(gradients.words, occlusion),
    is_top_word_equal: argmax(gradients.words) === argmax(occlusion),
    deletion: await masking.delete(order, score),
    random_deletion: random.curve,
    random_orders: random.orders,
  };
  return { reasons, flip: await masking.findFlip(occlusion) };
}

/** A row of token ids whose words can be masked; `first` minus `second` is the pair of classes that is scored. */
class Masking {
  private readonly known = new Map<string, number[]>();
  private readonly products: number; // of one forward pass

  constructor(
    private readonly model: Classifier,
    private readonly maskId: number,
    private readonly ids: number[],
    private readonly words: Word[],
    private readonly first: number,
    private readonly second: number,
    private readonly pacer: Pacer,
  ) {
    this.products = model.network.productsOf(ids.length);
  }

  margin(logits: number[]): number {
    return logits[this.first]! - logits[this.second]!;
  }

  async score(masked: number[]): Promise<number> {
    return this.margin(await this.logits(masked));
  }

  /** The class scores with these words masked; the same words are masked several times. */
  private async logits(masked: number[]): Promise<number[]> {
    const row = this.row(masked);
    const key = row.join();
    const logits = this.known.get(key) ?? (await classify(this.model, row, this.pacer));
    this.known.set(key, logits);
    return logits;
  }

  /** Midpoint rule along the line from the masked text to the text, with twice as many steps until the sum fits. */
  async integrateGradients(
    change: number,
  ): Promise<{ words: number[]; steps: number; error: number; isConverged: boolean }> {
    const tolerance = Math.max(RELATIVE_TOLERANCE * Math.abs(change), ABSOLUTE_TOLERANCE);
    const most = Math.max(FIRST_STEPS, Math.min(MOST_STEPS, Math.floor(TOKEN_STEPS / this.ids.length)));
    let steps = 2 * FIRST_STEPS * this.products > QUICK_ABOVE ? QUICK_STEPS : FIRST_STEPS;
    for (; ; steps *= 2) {
      const byToken = await this.attribute(steps);
      const error = byToken.reduce((sum, each) => sum + each, 0) - change;
      const isConverged = Math.abs(error) <= tolerance;
      if (!isConverged && 2 * steps <= most) continue;
      const words = this.words.map((word) => word.positions.reduce((sum, position) => sum + byToken[position]!, 0));
      return { words, steps, error, isConverged };
    }
  }

  /** The score after masking the first 0, 1, 2, ... words of an order. */
  async delete(order: number[], score: number): Promise<number[]> {
    const curve = [score];
    for (let count = 1; count <= Math.min(this.words.length, DELETED_WORDS); count++)
      curve.push(await this.score(order.slice(0, count)));
    return curve;
  }

  /** The mean curve over random orders from a fixed seed; they are others than Python's. */
  async deleteAtRandom(score: number): Promise<{ curve: number[]; orders: number }> {
    const count = Math.min(this.words.length, DELETED_WORDS);
    const fitting = Math.floor(CONTROL_PRODUCTS / (count * this.products));
    const orders = Math.min(RANDOM_ORDERS, Math.max(FEWEST_RANDOM_ORDERS, fitting));
    const curve = new Array<number>(count + 1).fill(0);
    const random = randomNumbers(0);
    for (let order = 0; order < orders; order++) {
      const scores = await this.delete(shuffle(range(0, this.words.length), random), score);
      scores.forEach((each, index) => (curve[index]! += each / orders));
    }
    return { curve, orders };
  }

  /** The word that flips the label most clearly, or else up to four words, added greedily. */
  async findFlip(occlusion: number[]): Promise<Flip | null> {
    const byOcclusion = largest(range(0, this.words.length), (word) => occlusion[word]!, this.words.length);
    const chosen: number[] = [];
    let candidates = range(0, this.words.length);
    while (candidates.length && chosen.length < FLIPPED_WORDS) {
      let best = { lead: Infinity, word: -1, logits: [] as number[] };
      for (const word of candidates) {
        const logits = await this.logits([...chosen, word]);
        const lead = logits[this.first]! - Math.max(...logits.filter((_, index) => index !== this.first));
        if (lead < best.lead) best = { lead, word, logits };
      }
      chosen.push(best.word);
      if (best.lead < 0) {
        const probabilities = softmax(best.logits);
        const label = argmax(probabilities);
        return {
          words: chosen.sort((a, b) => a - b),
          label: this.model.labelNames[label]!,
          probability: probabilities[label]!,
        };
      }
      candidates = byOcclusion.filter((word) => !chosen.includes(word)).slice(0, FLIP_CANDIDATES);
    }
    return null;
  }

  private row(masked: number[]): number[] {
    const row = [...this.ids];
    for (const word of masked) for (const position of this.words[word]!.positions) row[position] = this.maskId;
    return row;
  }

  /** The attribution of each token: (end - start) times the mean gradient at the midpoints of equal steps. */
  private async attribute(steps: number): Promise<Float64Array> {
    const { network, head } = this.model;
    const size = network.config.hidden_size;
    const tokens = this.ids.length;
    const start = network.embed(this.row(range(0, this.words.length)));
    const change = network.embed(this.ids).map((value, index) => value - start[index]!);
    const ofNormed = new Float32Array(tokens * size);
    for (let i = 0; i < ofNormed.length; i++)
      ofNormed[i] = (head.row(this.first)[i % size]! - head.row(this.second)[i % size]!) / tokens;
    const total = new Float64Array(tokens * size);
    for (let step = 0; step < steps; step++) {
      const fraction = (step + 0.5) / steps;
      const point = start.map((value, index) => value + fraction * change[index]!);
      const pass = await network.forward(point, this.pacer);
      const gradient = await network.backward(pass, ofNormed, this.pacer);
      for (let i = 0; i < total.length; i++) total[i]! += gradient[i]! / steps;
    }
    return Float64Array.from({ length: tokens }, (_, token) => dot(total, token * size, change, token * size, size));
  }
}

function shuffle(items: number[], random: () => number): number[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
  return items;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
