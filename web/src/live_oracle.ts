import type { Oracle } from "./oracle.ts";
import { TraceError } from "./source.ts";
import { readToken, tokenHeader } from "./token.ts";
import type { FillTrace, PredictionTrace } from "./trace.ts";

/** Asks the server of the live page. */
export function liveOracle(): Oracle | null {
  if (document.body.dataset.mode !== "live" || readToken() === null) return null;
  const post = async (path: string, text: string, pair?: string): Promise<unknown> => {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...tokenHeader() },
      body: JSON.stringify({ text, text_pair: pair }),
    });
    const answer: unknown = await response.json().catch(() => null);
    if (response.ok) return answer;
    const sentence = (answer as { error?: unknown } | null)?.error;
    throw new TraceError(typeof sentence === "string" ? sentence : `The server answered ${response.status}.`);
  };
  return {
    place: "on the server of this run",
    trace: (text, _, pair) => post("/api/predict", text, pair) as Promise<PredictionTrace>,
    fill: (maskedText) => post("/api/fill", maskedText) as Promise<FillTrace>,
  };
}
