import { scientific, THIN_SPACE } from "../format.ts";
import type { Question } from "../trace.ts";

/** The unit with the space before it; a power of ten is written as one. */
export function unitOf({ unit }: Pick<Question, "unit">): string {
  if (!unit) return "";
  const power = /^x 10\^(-?\d+)(.*)$/.exec(unit);
  if (!power) return unit === "%" ? `${THIN_SPACE}%` : ` ${unit}`;
  return `${THIN_SPACE}${scientific(10 ** Number(power[1]), 1).replace(/^1\s/, "")}${power[2] ?? ""}`;
}
