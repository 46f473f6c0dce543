import type { RunTrace } from "../trace.ts";

export function Errors(_props: { trace: RunTrace }) {
  return null;
}
