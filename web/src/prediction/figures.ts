// Names and numbers that only the trace of a prediction needs; the rest is in ../format.ts.
import { textWidth } from "../charts/figure.tsx";
import { fixed, scientific, signed, signedSignificant } from "../format.ts";
import { isolated, LEFT_OUT } from "../text.tsx";

/** Writes what is added to a logit, or to a number: the latter may be of any size, as the units of its file are. */
export function addedWriter(isNumber: boolean): (value: number, decimals?: number) => string {
  return isNumber ? (value) => signedSignificant(value) : signed;
}

/** How far two results of the same sum differ: 0, 2 × 10⁻⁷, 0.012. */
export function difference(value: number): string {
  if (!Number.isFinite(value)) return "not a number";
  return Math.abs(value) >= 0.001 ? fixed(value, 3) : scientific(value, 1);
}

/** feed_forward_1 as it is written in a chart: feed-forward 1. */
export function componentName(name: string): string {
  return name.replace("feed_forward", "feed-forward").replaceAll("_", " ");
}

export function layerName(layer: number): string {
  return layer === 0 ? "embedding" : `layer ${layer}`;
}

/** What a token is written as: without the space before it, and a blank one as a sign. */
export function surfaceOf(surface: string): string {
  return surface.trim() || (surface === "" ? "\u2205" : "\u2423");
}

/** Text of the user for a chart or an attribute, where no markup can stand: cut, isolated, nothing hidden in it. */
export function plainText(text: string, limit = 18): string {
  return isolated(text, limit);
}

/** A word of the text for a chart; where it was left out, its place in the text. */
export function wordName(word: string, index: number, limit = 16): string {
  return word === LEFT_OUT ? `word ${index + 1}` : plainText(word, limit);
}

/** How many characters of a text fit into a width. */
export function roomFor(text: string, width: number): number {
  return Math.floor((width * [...text].length) / textWidth(text || " "));
}

/** The same word, cut to a width. */
export function wordWithin(word: string, index: number, width: number): string {
  return wordName(word, index, Math.max(5, Math.min(16, roomFor(word, width))));
}

/** About how wide such a text is in a chart; the isolating characters have no width. */
export function plainWidth(text: string): number {
  return textWidth(text.replace(/[\u2068\u2069]/g, ""));
}
