// Whether the document gives the answers that its questions state, and whether a reader's answer is right.
import { evaluate, ExpressionError } from "../expression.ts";
import type { Option, Question } from "../trace.ts";

/** What a question is told from another by. The id is only its place: a live page may get another question there, and an
 * answer that was given must not stay under it. */
export function keyOf({ id, template, prompt, options }: Question): string {
  return JSON.stringify([id, template, prompt, options.map(({ text }) => text)]);
}

/** null where the answer follows from the document; else a sentence that says why it does not. */
export function mismatchOf(question: Question, document: unknown): string | null {
  try {
    return question.kind === "number" ? mismatchOfNumber(question, document) : mismatchOfChoice(question, document);
  } catch (error) {
    if (error instanceof ExpressionError) return `The expression has no value: ${error.message}`;
    throw error;
  }
}

function mismatchOfNumber(question: Question, document: unknown): string | null {
  const value = evaluate(question.expression, document);
  if (typeof value !== "number" || question.answer === null) return "The question has no number as its answer.";
  const allowed = (question.tolerance ?? 0) / 10;
  return Math.abs(value - question.answer) <= allowed
    ? null
    : `The file says ${question.answer}, and this browser computes ${value}.`;
}

function mismatchOfChoice(question: Question, document: unknown): string | null {
  const right = question.options.filter((option) => option.is_right).length;
  if (right !== 1) return `One option must be right, and ${right} are marked.`;
  if (question.expression === null || question.expression === undefined) return null;
  const claims = evaluate(question.expression, document);
  if (!Array.isArray(claims) || claims.length !== question.options.length) {
    return "The expression does not say of every option whether it is right.";
  }
  const wrong = question.options.findIndex((option, index) => claims[index] !== option.is_right);
  return wrong < 0
    ? null
    : `Option ${wrong + 1} is marked ${question.options[wrong]!.is_right ? "right" : "wrong"}, and this browser computes the opposite.`;
}

/** The number that a reader typed: 63.7, 63,7, 0,125, 1,234.5, a true minus and a percent sign are read; null for anything else. */
export function readNumber(typed: string): number | null {
  let text = typed.trim().replaceAll("\u2212", "-").replace(/\s*%$/, "").replace(/[\s\u202f\u00a0]/g, "");
  if (/^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(text)) text = text.replaceAll(",", "");
  else if (/^[+-]?\d*,\d+$/.test(text)) text = text.replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}

export function isRightNumber(question: Question, typed: number): boolean {
  return question.answer !== null && Math.abs(typed - question.answer) <= (question.tolerance ?? 0) + 1e-9;
}

export interface Answer {
  /** position of the option, for a choice */
  option: number | null;
  /** for a number */
  value: number | null;
}

export function isRight(question: Question, answer: Answer): boolean {
  if (question.kind === "number") return answer.value !== null && isRightNumber(question, answer.value);
  return answer.option !== null && question.options[answer.option]?.is_right === true;
}

export const NO_ANSWER: Answer = { option: null, value: null };

/** The wrong option that was chosen, or the known wrong number that was typed; null where the mistake is not known. */
export function knownMistake(question: Question, answer: Answer): Option | null {
  if (question.kind === "choice") return (answer.option === null ? null : question.options[answer.option]) ?? null;
  const { value } = answer;
  if (value === null) return null;
  const tolerance = (question.tolerance ?? 0) + 1e-9;
  return question.options.find((known) => known.value !== null && Math.abs(known.value - value) <= tolerance) ?? null;
}
