// The tokens of a text and the words that they are part of, as tracing/words.py finds them.
//
// A word is a stretch of the clean text without a blank; in scripts that write no blanks between words, every token is
// a word by itself. Where the middle of a long text was cut out, the words end at the cut.

import type { Token } from "../trace.ts";
import { cutMiddle, type Encoded, type Tokenizer } from "./tokenizer.ts";

const WRITES_NO_BLANKS =
  /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/u;

export interface Word {
  surface: string;
  positions: number[];
}

/** A token of the model in the page, which knows all ids. */
export type NumberedToken = Token & { id: number };

export interface TokenizedText {
  ids: number[];
  tokens: NumberedToken[];
  words: Word[];
  wasCut: boolean;
}

type Span = readonly [number, number] | null; // null is a special token, which ends a word

export function tokenize(
  tokenizer: Tokenizer,
  text: string,
  encoded: Encoded,
  maxSeqLen: number,
  counts: Uint32Array | null,
): TokenizedText {
  const chars = Array.from(text);
  const kept = cutMiddle(encoded.ids.length, maxSeqLen);
  const ids = kept.map((index) => encoded.ids[index]!);
  const { pad, bos, eos, mask } = tokenizer.special;
  const spans = kept.map((index): Span => {
    const isSpecial = [pad, bos, eos, mask].includes(encoded.ids[index]!);
    return isSpecial ? null : [encoded.starts[index]!, encoded.ends[index]!];
  });
  const cut = kept.findIndex((index, position) => position > 0 && index !== kept[position - 1]! + 1);
  const words = findWords(chars, spans, cut);
  const wordOf = new Map<number, number>();
  words.forEach((word, number) => word.positions.forEach((position) => wordOf.set(position, number)));
  const tokens = ids.map((id, position): NumberedToken => {
    const span = spans[position]!;
    return {
      position,
      id,
      surface: span === null ? tokenizer.surface(id) : chars.slice(...span).join(""),
      start: span && span[0],
      end: span && span[1],
      is_special: span === null,
      in_pair: false,
      word: wordOf.get(position) ?? null,
      count: counts === null || span === null ? null : (counts[id] ?? null),
    };
  });
  return { ids, tokens, words, wasCut: kept.length < encoded.ids.length };
}

function findWords(chars: string[], spans: Span[], cut: number): Word[] {
  const groups: number[][] = [];
  let begin = 0;
  let end = 0;
  let isOpen = false; // whether the next token may continue the word
  spans.forEach((span, position) => {
    if (span === null) {
      isOpen = false;
    } else if (isOpen && position !== cut && continuesWord(chars, begin, end, span)) {
      groups.at(-1)!.push(position);
      end = Math.max(end, span[1]);
    } else {
      groups.push([position]);
      [begin, end] = span;
      isOpen = true;
    }
  });
  return groups.map((positions) => {
    const start = Math.min(...positions.map((position) => spans[position]![0]));
    const last = Math.max(...positions.map((position) => spans[position]![1]));
    return { surface: chars.slice(start, last).join("").trim(), positions };
  });
}

function continuesWord(chars: string[], begin: number, end: number, span: readonly [number, number]): boolean {
  if (span[0] < end || span[0] === span[1]) return true; // one of several tokens of a single character
  const before = chars[end - 1] ?? "";
  const after = chars[end] ?? "";
  if (before === " " || after === " ") return chars.slice(begin, end).join("").trim() === "" && after !== " ";
  return !WRITES_NO_BLANKS.test(before) && !WRITES_NO_BLANKS.test(after);
}
