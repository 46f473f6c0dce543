import assert from "node:assert/strict";
import { test } from "node:test";
import { Marked } from "../src/errors/marked.tsx";
import { WithFigures } from "../src/insight/index.tsx";
import { codePoint, isolated, pieces, Quoted, Sentence, shorten, UserText } from "../src/text.tsx";

const hidden = (text: string) => pieces(text).filter((piece) => piece.isHidden).map((piece) => codePoint(piece.text));

test("no character is lost", () => {
  const text = "a\u202eb\u0000\ud83d c\u200b👨‍👩‍👧";
  assert.equal(pieces(text).map((piece) => piece.text).join(""), text);
});

for (const [name, text, expected] of [
  ["direction marks", "a\u202eb\u2066c", ["U+202E", "U+2066"]],
  ["controls", "a\u0000b\u0085", ["U+0000", "U+0085"]],
  ["half of a pair", "a\ud83d b", ["U+D83D"]],
  ["zero widths", "zero\u200bwidth\ufeff", ["U+200B", "U+FEFF"]],
  ["line separators", "a\u2028b", ["U+2028"]],
  ["a joiner beside a blank", "a \u200d b", ["U+200D"]],
  ["a joiner within an emoji is not shown", "👩🏽‍🔬", []],
  ["a joiner within a Persian word is not shown", "می‌خواهم", []],
  ["a line break and a tab are white space", "a\nb\tc", []],
] as [string, string, string[]][]) {
  test(`hidden characters: ${name}`, () => assert.deepEqual(hidden(text), expected));
}

test("a text is cut between code points", () => assert.deepEqual(shorten("👍👍👍", 2), ["👍👍", 1]));
test("a short text is not cut", () => assert.deepEqual(shorten("👍👍👍", 3), ["👍👍👍", 0]));
test("a text within a string is isolated", () => assert.equal(isolated("a\u202eb"), "\u2068a‹U+202E›b\u2069"));

/** How many runs of their own the browser would see, in this element and its children. */
function runs(node: unknown): number {
  if (Array.isArray(node)) return node.reduce((sum: number, each) => sum + runs(each), 0);
  const { type, props } = (node ?? {}) as { type?: unknown; props?: { children?: unknown } };
  return (type === "bdi" || type === UserText || type === Quoted ? 1 : 0) + runs(props?.children ?? []);
}

test("a text with marked entities is one run, apart from the names of their types", () => {
  const entities = [{ start: 0, end: 4, type: "person" }];
  const marked = Marked({ text: "שלום עולם", entities, limit: 100 });
  assert.equal(marked.type, "bdi");
  assert.equal(runs(marked), 2);
});

test("a label that is quoted is a run of its own, and the sentence around it is written from left to right", () => {
  const sentence = Sentence({ text: "“שלום” 12 as “עולם”, 3 as “”" });
  assert.equal(sentence.props.dir, "ltr");
  assert.equal(runs(sentence), 4);
});

test("the figure that stands out is none of a quoted name", () => {
  const shown = (sentence: string) => [WithFigures({ sentence }).props.children].flat().map((part) => part?.props?.text ?? part?.props?.children);
  assert.deepEqual(shown("On “50\u202f% off” +3.0 points (1.0 points)."), ["On “50\u202f% off” ", "+3.0 points", " (1.0 points)."]);
  assert.deepEqual(shown("Nothing."), ["Nothing.", undefined, ""]);
});
