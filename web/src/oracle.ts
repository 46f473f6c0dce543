import type { FillTrace, PredictionTrace } from "./trace.ts";

/** What answers a typed text: the live server, or the model that the file carries. A page without one has neither. */
export interface Oracle {
  /** where it computes, in words: "on the server of this run", "in this browser" */
  place: string;
  trace(text: string): Promise<PredictionTrace>;
  /** the text has one [MASK] */
  fill(maskedText: string): Promise<FillTrace>;
}
