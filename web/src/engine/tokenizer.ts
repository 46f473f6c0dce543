// Text to token ids, exactly as text/tokenizer does: byte-level BPE, WordPiece or whole words.
//
// The tokenizers library of Python has Unicode 16 for letters and an older version for punctuation, browsers have their
// own; the characters by which a browser of Unicode 17 differs are listed here.

export interface TokenizerSpec {
  kind: "bpe" | "wordpiece" | "words";
  is_lowercase: boolean;
  /** by id, as tokenizer.json spells them */
  tokens: string[];
  special: { pad: number; bos: number; eos: number; mask: number; unk: number | null };
  /** characters of the longest word that WordPiece splits */
  longest_word: number;
}

/** Ids with those of the beginning and the end, and the characters of each: chars[start..end), in code points. */
export interface Encoded {
  ids: number[];
  starts: number[];
  ends: number[];
}

const LATER = codes(
  "88f c5c cdc 1acf-1add 1ae0-1aeb a7ce a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 10efa 10efb 11b60-11b67 " +
  "11db0-11ddb 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e 18d80-18df2 1e6c0-1e6de " +
  "1e6e0-1e6f5 1e6fe 1e6ff 2b73a-2b73f 2cea2-2cead 323b0-33479",
);
const SPACE = "\\p{White_Space}";
const letter = `(?:(?![${LATER}])\\p{L})`;
const number = `(?:(?![${LATER}])\\p{N})`;
const other = `(?:[${LATER}]|[^${SPACE}\\p{L}\\p{N}])`;
const GPT2_PRETOKEN = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?${letter}+| ?${number}+| ?${other}+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
  "gu",
);
const inWord = `(?:(?![${LATER}])[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}²³¹¼-¾])`;
const WORD = new RegExp(`${inWord}+(?:['’\\-]${inWord}+)*|(?!${inWord})[^${SPACE}]`, "gu");
// Punctuation of the Unicode that the library's WordPiece has, about version 8.
const LATER_PUNCTUATION = codes(
  "61d 9fd a76 c77 c84 1b4e 1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10ed0 10f55-10f59 10f86-10f89 113d4 " +
  "113d5 113d7 113d8 1144b-1144f 1145a 1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 " +
  "11a9a-11a9c 11a9e-11aa2 11b00-11b09 11be1 11c41-11c45 11c70 11c71 11ef7 11ef8 11f43-11f4f 11fff 12ff1 12ff2 " +
  "16d6d-16d6f 16e97-16e9a 16fe2 1e5ff 1e95e 1e95f",
);
const PUNCTUATION = `(?:(?![${LATER_PUNCTUATION}])\\p{P}|[!-\\/:-@\\[-\`{-~\\u166d\\u{111c9}])`;
const IDEOGRAPH = "[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2fa1f}]";
const alone = `(?:${PUNCTUATION}|${IDEOGRAPH})`;
const BERT_PRETOKEN = new RegExp(`${alone}|(?:(?!${alone})[^${SPACE}])+`, "gu");
const MARKUP_BREAKS = /(?:\p{White_Space}|<br\p{White_Space}*\/?>)+/gu;
const HAS_SPACE = /\p{White_Space}/u;
const CONTINUES = "##";

/** A stretch of text after normalisation: its characters, and for each the characters of the text that it is from. */
interface Stretch {
  chars: string[];
  starts: number[];
  ends: number[];
}

export class Tokenizer {
  readonly special: TokenizerSpec["special"];
  readonly kind: TokenizerSpec["kind"];
  private readonly tokens: string[];
  private readonly ids: Map<string, number>;
  private readonly ranks = new Map<number, number>(); // of the pair first * V + second
  private readonly merged: number[] = [];
  private readonly idOfByte: number[];
  private readonly byteOf: Map<string, number>;
  private readonly longestToken: number;

  /** `merges` has the ids of both parts and of the whole, one merge after another. */
  constructor(
    private readonly spec: TokenizerSpec,
    merges: ArrayLike<number>,
  ) {
    this.kind = spec.kind;
    this.special = spec.special;
    this.tokens = spec.tokens;
    this.ids = new Map(spec.tokens.map((token, id) => [token, id]));
    this.longestToken = Math.max(...spec.tokens.map((token) => token.length));
    const characters = byteCharacters();
    this.idOfByte = characters.map((character) => this.ids.get(character) ?? -1);
    this.byteOf = new Map(characters.map((character, byte) => [character, byte]));
    for (let rank = 0; 3 * rank < merges.length; rank++) {
      this.ranks.set(merges[3 * rank]! * this.vocabSize + merges[3 * rank + 1]!, rank);
      this.merged.push(merges[3 * rank + 2]!);
    }
  }

  get vocabSize(): number {
    return this.tokens.length;
  }

  /** Ids and spans of a clean text. Special tokens in it are plain text, as for a classifier. */
  encode(text: string): Encoded {
    const chars = Array.from(text);
    const encoded = this.begin();
    this.addStretch(encoded, this.normalize(chars, 0, chars.length), true);
    return this.finish(encoded);
  }

  /** The same, but special tokens in the text are those of the model; [MASK] takes the blanks before it, too. */
  encodeForFill(text: string): Encoded {
    const chars = Array.from(text);
    const encoded = this.begin();
    let from = 0;
    for (let at = 0; at < chars.length; at++) {
      if (chars[at] !== "[") continue;
      const id = this.specialAt(chars, at);
      if (id === undefined) continue;
      const end = at + this.tokens[id]!.length;
      let start = at;
      if (id === this.special.mask) while (start > from && HAS_SPACE.test(chars[start - 1]!)) start--;
      this.addStretch(encoded, this.normalize(chars, from, start), from === 0);
      add(encoded, id, start, end);
      from = end;
      at = end - 1;
    }
    this.addStretch(encoded, this.normalize(chars, from, chars.length), from === 0);
    return this.finish(encoded);
  }

  /** The text of a token by itself, as Python's `Tokenizer.decode` of the one id, stripped. */
  word(id: number): string {
    if (this.isSpecial(id)) return "";
    return this.surface(id).trim();
  }

  /** The text of a token: BPE tokens with their leading blank, WordPiece tokens with `##` if they continue a word. */
  surface(id: number): string {
    const token = this.tokens[id]!;
    if (this.kind !== "bpe" || this.isSpecial(id)) return token;
    return new TextDecoder().decode(Uint8Array.from(token, (character) => this.byteOf.get(character)!));
  }

  isSpecial(id: number): boolean {
    return Object.values(this.special).includes(id);
  }

  private begin(): Encoded {
    return { ids: [this.special.bos], starts: [0], ends: [0] };
  }

  private finish(encoded: Encoded): Encoded {
    add(encoded, this.special.eos, 0, 0);
    return encoded;
  }

  private specialAt(chars: string[], at: number): number | undefined {
    return Object.values(this.special).find(
      (id): id is number => id !== null && chars.slice(at, at + this.tokens[id]!.length).join("") === this.tokens[id],
    );
  }

  /** What the tokenizer's own normaliser does to clean text: line breaks of nested markup, blanks at the end, case. */
  private normalize(chars: string[], from: number, to: number): Stretch {
    let stretch: Stretch = { chars: chars.slice(from, to), starts: range(from, to), ends: range(from + 1, to + 1) };
    if (stretch.chars.includes("<")) stretch = replaceBreaks(stretch);
    while (stretch.chars.length && HAS_SPACE.test(stretch.chars.at(-1)!)) {
      stretch.chars.pop();
      stretch.starts.pop();
      stretch.ends.pop();
    }
    return this.spec.is_lowercase ? lowercase(stretch) : stretch;
  }

  private addStretch(encoded: Encoded, stretch: Stretch, isFirst: boolean): void {
    if (!stretch.chars.length) return;
    if (this.kind === "bpe" && isFirst && stretch.chars[0] !== " ") {
      stretch.chars.unshift(" ");
      stretch.starts.unshift(stretch.starts[0]!);
      stretch.ends.unshift(stretch.ends[0]!);
    }
    const pattern = { bpe: GPT2_PRETOKEN, wordpiece: BERT_PRETOKEN, words: WORD }[this.kind];
    const text = stretch.chars.join("");
    let unit = 0;
    let position = 0;
    for (const match of text.matchAll(pattern)) {
      while (unit < match.index) unit += stretch.chars[position++]!.length;
      const first = position;
      while (unit < match.index + match[0].length) unit += stretch.chars[position++]!.length;
      if (this.kind === "bpe") this.addByteLevel(encoded, stretch, first, position);
      else if (this.kind === "wordpiece") this.addWordPieces(encoded, stretch, first, position);
      else this.addWord(encoded, stretch, first, position, match[0]);
    }
  }

  private addWord(encoded: Encoded, stretch: Stretch, first: number, last: number, word: string): void {
    add(encoded, this.ids.get(word) ?? this.special.unk!, stretch.starts[first]!, stretch.ends[last - 1]!);
  }

  private addByteLevel(encoded: Encoded, stretch: Stretch, first: number, last: number): void {
    const ids: number[] = [];
    const at: number[] = []; // the character of each byte
    const encoder = new TextEncoder();
    for (let position = first; position < last; position++) {
      for (const byte of encoder.encode(stretch.chars[position])) {
        ids.push(this.idOfByte[byte]!);
        at.push(position);
      }
    }
    const ends = range(1, ids.length + 1); // the byte after each token
    this.merge(ids, ends);
    let byte = 0;
    ids.forEach((id, index) => {
      add(encoded, id, stretch.starts[at[byte]!]!, stretch.ends[at[ends[index]! - 1]!]!);
      byte = ends[index]!;
    });
  }

  /** Merge pairs in place, the earliest learned first, until none is left. */
  private merge(ids: number[], ends: number[]): void {
    while (ids.length > 1) {
      let best = Infinity;
      for (let i = 0; i + 1 < ids.length; i++) {
        const rank = this.ranks.get(ids[i]! * this.vocabSize + ids[i + 1]!);
        if (rank !== undefined && rank < best) best = rank;
      }
      if (best === Infinity) return;
      let kept = 0;
      for (let i = 0; i < ids.length; i++) {
        const isPair = i + 1 < ids.length && this.ranks.get(ids[i]! * this.vocabSize + ids[i + 1]!) === best;
        ids[kept] = isPair ? this.merged[best]! : ids[i]!;
        ends[kept++] = ends[isPair ? ++i : i]!;
      }
      ids.length = ends.length = kept;
    }
  }

  /** The longest subwords from the left; a word with a part that is no token, or too long, is unknown as a whole. */
  private addWordPieces(encoded: Encoded, stretch: Stretch, first: number, last: number): void {
    const found: [number, number, number][] = [];
    let start = last - first > this.spec.longest_word ? -1 : first;
    while (start >= 0 && start < last) {
      const prefix = start > first ? CONTINUES : "";
      let end = Math.min(last, start + this.longestToken);
      let id: number | undefined;
      for (; end > start; end--) {
        id = this.ids.get(prefix + stretch.chars.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id !== undefined) found.push([id, start, end]);
      start = id === undefined ? -1 : end;
    }
    if (start < 0) add(encoded, this.special.unk!, stretch.starts[first]!, stretch.ends[last - 1]!);
    else for (const [id, from, to] of found) add(encoded, id, stretch.starts[from]!, stretch.ends[to - 1]!);
  }
}

/** Positions of the ids that a model of a limited length reads: a quarter of them from the head, the rest from the
 * tail. */
export function cutMiddle(length: number, most: number): number[] {
  if (length <= most) return range(0, length);
  const head = Math.max(1, Math.floor(most * 0.25));
  return [...range(0, head), ...range(length - (most - head), length)];
}

function add(encoded: Encoded, id: number, start: number, end: number): void {
  encoded.ids.push(id);
  encoded.starts.push(start);
  encoded.ends.push(end);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

function replaceBreaks(stretch: Stretch): Stretch {
  const result: Stretch = { chars: [], starts: [], ends: [] };
  const text = stretch.chars.join("");
  let unit = 0;
  let position = 0;
  const copyUntil = (end: number): void => {
    for (; unit < end; unit += stretch.chars[position++]!.length) {
      result.chars.push(stretch.chars[position]!);
      result.starts.push(stretch.starts[position]!);
      result.ends.push(stretch.ends[position]!);
    }
  };
  for (const match of text.matchAll(MARKUP_BREAKS)) {
    copyUntil(match.index);
    const first = position;
    while (unit < match.index + match[0].length) unit += stretch.chars[position++]!.length;
    result.chars.push(" ");
    result.starts.push(stretch.starts[first]!);
    result.ends.push(stretch.ends[position - 1]!);
  }
  copyUntil(text.length);
  return result;
}

/** Character by character, since the library does not look at the neighbours of a sigma. */
function lowercase(stretch: Stretch): Stretch {
  const result: Stretch = { chars: [], starts: [], ends: [] };
  stretch.chars.forEach((character, index) => {
    for (const lower of character.toLowerCase()) {
      result.chars.push(lower);
      result.starts.push(stretch.starts[index]!);
      result.ends.push(stretch.ends[index]!);
    }
  });
  return result;
}

/** The printable character that byte-level BPE uses for each byte (GPT-2's table). */
function byteCharacters(): string[] {
  let hidden = 0;
  return range(0, 256).map((byte) => {
    const isShown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isShown ? byte : 256 + hidden++);
  });
}

/** Code points and ranges of them, as the inside of a class of a regular expression. */
function codes(ranges: string): string {
  return ranges.replace(/[0-9a-f]+/g, "\\u{$&}").replaceAll(" ", "");
}
