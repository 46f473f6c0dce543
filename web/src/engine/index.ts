// The model that the file carries, computing in the reader's browser: an oracle like the server of a live run.

import type { Oracle } from "../oracle.ts";
import { largestDifference, softmax } from "../prediction/arithmetic.ts";
import type { FillTrace, PredictionTrace, RunTrace } from "../trace.ts";
import { cleanText } from "./clean.ts";
import { EmbeddingSpace } from "./embedding.ts";
import { MASK, traceFill } from "./fill.ts";
import { Cancelled, Pacer } from "./pacer.ts";
import { type ModelPayload, readPayload } from "./payload.ts";
import { tracePrediction } from "./prediction.ts";
import { canGiveReasons, classify } from "./reasons.ts";
import { cutMiddle } from "./tokenizer.ts";
import { tokenize } from "./words.ts";

const ELEMENT_ID = "model";

/** The largest difference in probability between the run's own predictions and the same in this browser. */
export interface Parity {
  largest: number;
  /** texts that were compared */
  n: number;
}

/** The engine of this page; null if its file carries no model. */
export async function readEngine(page: Document = document): Promise<Engine | null> {
  const content = page.getElementById(ELEMENT_ID)?.textContent?.trim();
  return content ? new Engine(await readPayload(content)) : null;
}

export class Engine implements Oracle {
  readonly place = "in this browser, with the model in this file";
  private space: EmbeddingSpace | undefined;
  private running: Pacer | undefined;

  constructor(readonly payload: ModelPayload) {}

  get canTrace(): boolean {
    return this.payload.classifier !== null;
  }

  get canFill(): boolean {
    return this.payload.languageModel !== null;
  }

  /**
   * `onPart` gets the trace without its reasons, which take longest. A newer call ends an older one: if that has its
   * probabilities, it is answered without reasons, otherwise rejected.
   */
  async trace(text: string, onPart?: (part: PredictionTrace) => void): Promise<PredictionTrace> {
    const { classifier, tokenizer, counts } = this.payload;
    if (classifier === null) {
      throw new Error(
        `The model in this file predicts words and no labels: for tasks beyond one class for a text, a page that is a file computes none. Type a text with ${MASK}, or open the page with pretune watch.`,
      );
    }
    const cleaned = cleanText(text, this.payload.entities).text;
    if (!cleaned) {
      throw new Error("There is no text to trace: it is blank, or blank after cleaning; type one with words.");
    }
    this.space ??= new EmbeddingSpace(tokenizer, classifier.network.weights.embedding, counts);
    let known: PredictionTrace | undefined;
    try {
      return await tracePrediction(this.payload, classifier, this.space, cleaned, this.begin(), (part) => {
        known = part;
        onPart?.(part);
      });
    } catch (error) {
      if (error instanceof Cancelled && known) return known;
      throw error;
    }
  }

  /** The text has one [MASK]; of several, the first is read. */
  async fill(maskedText: string): Promise<FillTrace> {
    const { languageModel, entities } = this.payload;
    if (languageModel === null) throw new Error("This file carries no pre-trained model, which would fill in words.");
    const cleaned = cleanText(maskedText, entities).text;
    if (cleaned.split(MASK).length !== maskedText.split(MASK).length) {
      throw new Error(`A ${MASK} is inside markup, which is removed; put it between words.`);
    }
    return traceFill(this.payload, languageModel, cleaned, this.begin());
  }

  caution(text: string): string | null {
    const { classifier, tokenizer, maxSeqLen, entities } = this.payload;
    const cleaned = cleanText(text, entities);
    const found: string[] = [];
    if (cleaned.isSuspect) {
      found.push(
        "The text shows signs of a wrong decoding, such as “Ã©” for “é”. pretune repairs them with the library ftfy; " +
          "the page reads the text as it is, so its answer may differ.",
      );
    }
    if (classifier !== null && !text.includes(MASK)) {
      const encoded = tokenizer.encode(cleaned.text);
      if (classifier.hasStack) {
        found.push("This is the answer of the network alone: pretune predict adds linear models, which this file does not carry, so it may answer differently.");
      }
      if (this.needsWindows(encoded.ids.length)) {
        found.push("The text is longer than the model reads at once: pretune reads it in windows, and the page leaves out its middle, so its answer may differ.");
      }
      const { ids, words } = tokenize(tokenizer, cleaned.text, encoded, maxSeqLen, null);
      if (!canGiveReasons(classifier, ids, words)) found.push("The text is too long for its reasons to be computed in a browser.");
    }
    return found.length > 0 ? found.join(" ") : null;
  }

  /** Whether pretune reads a row of so many tokens in windows, which the page cannot do. */
  private needsWindows(tokens: number): boolean {
    const { classifier, maxSeqLen } = this.payload;
    return classifier !== null && classifier.readsWindows && tokens > maxSeqLen;
  }

  /** Whether the page reads the same tokens of a text as pretune. */
  readsAlike(text: string): boolean {
    const { tokenizer, entities } = this.payload;
    return !this.needsWindows(tokenizer.encode(cleanText(text, entities).text).ids.length);
  }

  /** The probability of each label of a text, as `pretune predict` gives them. */
  async predict(text: string, pacer = new Pacer()): Promise<number[]> {
    const { classifier, tokenizer, maxSeqLen, entities } = this.payload;
    if (classifier === null) throw new Error("The model in this file predicts words and no labels.");
    const { ids } = tokenizer.encode(cleanText(text, entities).text);
    const kept = cutMiddle(ids.length, maxSeqLen).map((index) => ids[index]!);
    return softmax(await classify(classifier, kept, pacer));
  }

  private begin(): Pacer {
    this.running?.cancel();
    this.running = new Pacer();
    return this.running;
  }
}

/**
 * Compute the run's own examples again, but for long ones that pretune reads in windows; n is 0 where the file has none,
 * or no classifier.
 */
export async function parity(trace: RunTrace, engine: Engine): Promise<Parity> {
  let largest = 0;
  const examples = engine.canTrace && !trace.is_redacted ? trace.predictions.filter(({ text }) => engine.readsAlike(text)) : [];
  for (const example of examples) {
    const found = await engine.predict(example.text);
    largest = Math.max(largest, largestDifference(found, example.decision.probabilities));
  }
  return { largest, n: examples.length };
}
