import type { FillTrace, PredictionTrace } from "./trace.ts";

/** What answers a typed text: the live server, or the model that the file carries. A page without one has neither. */
export interface Oracle {
  /** where it computes, in words: "on the server of this run", "in this browser" */
  place: string;
  /** `pair` is the second text, for a model of pairs; `onPart`, where it is called, gets the trace without its reasons first, since they take longest */
  trace(text: string, onPart?: (part: PredictionTrace) => void, pair?: string): Promise<PredictionTrace>;
  /** the text has one [MASK] */
  fill(maskedText: string): Promise<FillTrace>;
  /** why an answer about this text may differ from that of `pretune`, as a sentence; usually null */
  caution?(text: string): string | null;
}
