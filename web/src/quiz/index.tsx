import type { RunTrace } from "../trace.ts";

export function QuizSection(_props: { trace: RunTrace }) {
  return null;
}
