import type { Oracle } from "./oracle.ts";
import { TraceError } from "./source.ts";
import type { FillTrace, PredictionTrace } from "./trace.ts";

/** Asks the server of the live page. The token stands in the address behind the #, which no other site sees. */
export function liveOracle(): Oracle | null {
  const token = readToken();
  if (document.body.dataset.mode !== "live" || token === null) return null;
  const post = async (path: string, text: string): Promise<unknown> => {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Pretune-Token": token },
      body: JSON.stringify({ text }),
    });
    const answer: unknown = await response.json().catch(() => null);
    if (response.ok) return answer;
    const sentence = (answer as { error?: unknown } | null)?.error;
    throw new TraceError(typeof sentence === "string" ? sentence : `The server answered ${response.status}.`);
  };
  return {
    place: "on the server of this run",
    trace: (text) => post("/api/predict", text) as Promise<PredictionTrace>,
    fill: (maskedText) => post("/api/fill", maskedText) as Promise<FillTrace>,
  };
}

const KEY = "pretune-token";

/** The token moves into the session of the tab, so that links within the page may use the address. */
function readToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (token !== null) {
      sessionStorage.setItem(KEY, token);
      history.replaceState(null, "", location.pathname);
    }
    return token ?? sessionStorage.getItem(KEY);
  } catch {
    return token;
  }
}
