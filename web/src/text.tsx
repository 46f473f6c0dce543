import type { ComponentChildren } from "preact";

// Text of the user is shown as text nodes only: nothing here makes markup of it.

/** A run of ordinary characters, or one character that would not be seen: a control, a direction mark, half a pair. */
export interface Piece {
  text: string;
  isHidden: boolean;
}

// Controls, soft hyphens, direction marks, zero widths, half pairs; a joiner only outside a word or an emoji.
const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f" +
    "\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff]" +
    "|(?<![\\p{L}\\p{M}\\p{Extended_Pictographic}\\ufe0f\\u{1f3fb}-\\u{1f3ff}])[\\u200c\\u200d]" +
    "|[\\u200c\\u200d](?![\\p{L}\\p{M}\\p{Extended_Pictographic}])",
  "gu",
);

/** Splits a text at the characters that have no picture of their own. A joiner within a word or an emoji stays. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index), isHidden: false });
    found.push({ text: match[0], isHidden: true });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end), isHidden: false });
  return found;
}

/** U+202E */
export function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** The first `limit` characters, counted in code points, and how many are left out. */
export function shorten(text: string, limit: number): [string, number] {
  if (text.length <= limit) return [text, 0];
  const characters = [...text];
  return characters.length <= limit ? [text, 0] : [characters.slice(0, limit).join(""), characters.length - limit];
}

/** Text of the user within a string, for places that take no elements: isolated, with hidden characters visible. */
export function isolated(text: string, limit = 80): string {
  const [shown, rest] = shorten(text, limit);
  const visible = pieces(shown).map((piece) => (piece.isHidden ? `‹${codePoint(piece.text)}›` : piece.text));
  return `\u2068${visible.join("")}${rest > 0 ? "…" : ""}\u2069`;
}

export const LEFT_OUT = "▇"; // what --redact puts in place of every text

/** Text of the user, in its own direction, with hidden characters made visible. */
export function UserText({ text, limit = 1000 }: { text: string; limit?: number }) {
  if (text === LEFT_OUT) return <LeftOut />;
  const [shown, rest] = shorten(text, limit);
  return (
    <bdi dir="auto" class="user">
      <Plain text={shown} />
      <Rest count={rest} />
    </bdi>
  );
}

/** How many characters of a text are not shown. */
export function Rest({ count }: { count: number }) {
  return count > 0 ? <span class="rest"> … {count.toLocaleString("en-US")} more characters</span> : null;
}

function LeftOut() {
  return (
    <span class="left-out">
      <span aria-hidden="true">▇▇▇</span>
      <span class="unseen">text left out</span>
    </span>
  );
}

/** Text of the user between quotation marks. */
export function Quoted({ text, limit }: { text: string; limit?: number }) {
  return (
    <>
      “<UserText text={text} limit={limit} />”
    </>
  );
}

const QUOTED = /“([^”]*)”/;

/** A sentence of ours, whose direction a quoted text does not change. */
export function Sentence({ text }: { text: string }) {
  return (
    <bdi dir="ltr" class="user">
      {text.split(QUOTED).map((part, index) => (index % 2 === 1 ? <Quoted text={part} limit={3000} /> : <Plain text={part} />))}
    </bdi>
  );
}

const AROUND_MASK = 160;

/** A text with one [MASK], which `slot` replaces; of a long text what stands around it. */
export function MaskedText({ text, slot }: { text: string; slot: ComponentChildren }) {
  const at = text.indexOf("[MASK]");
  if (at < 0) return <UserText text={text} limit={2 * AROUND_MASK} />;
  const [before, after] = [[...text.slice(0, at)], [...text.slice(at + 6)]];
  return (
    <bdi dir="auto" class="user">
      {before.length > AROUND_MASK && "… "}
      <Plain text={before.length > AROUND_MASK ? lastWords(before.slice(-AROUND_MASK).join("")) : before.join("")} />
      {slot}
      <Plain text={after.length > AROUND_MASK ? firstWords(after.slice(0, AROUND_MASK).join("")) : after.join("")} />
      {after.length > AROUND_MASK && " …"}
    </bdi>
  );
}

/** Without the part of a word at the cut; a text without spaces stays as it is. */
function lastWords(text: string): string {
  return /\s\S/.test(text) ? text.replace(/^\S*\s+/, "") : text;
}

function firstWords(text: string): string {
  return /\S\s/.test(text) ? text.replace(/\s+\S*$/, "") : text;
}

export function Plain({ text }: { text: string }) {
  return (
    <>
      {pieces(text).map((piece) =>
        piece.isHidden ? <span class="hidden-character">‹{codePoint(piece.text)}›</span> : piece.text,
      )}
    </>
  );
}
