import type { Oracle } from "../oracle.ts";
import type { RunTrace } from "../trace.ts";

export function Prediction(_props: { trace: RunTrace; oracle: Oracle | null }) {
  return null;
}
