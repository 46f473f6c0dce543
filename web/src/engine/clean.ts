// Repair of a typed text, as text/clean/normalize.py does it before a model reads it.
//
// One repair is left out: wrongly decoded text ("cafÃ©" for "café") is repaired there by the library ftfy, and stays
// as it is here. `isSuspect` says that a text shows the signs of it, so its prediction may differ from Python's.

export interface CleanText {
  text: string;
  /** has signs of a wrong decoding, which only Python repairs */
  isSuspect: boolean;
}

/** Values of HTML's named character references, with their semicolon where the standard asks for one. */
export type Entities = ReadonlyMap<string, string>;

// Python's white space, which is also that of its regular expressions.
const BLANK = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANKS = new RegExp(`[${BLANK}]+`, "u");
const PLAIN = /^[ -%'-;=-~]*$/; // printable ASCII without & and <
const MOJIBAKE = new RegExp(
  [
    "[¡-ſ][\\x80-\\x9f]",
    "[À-ſ][\\xa1-\\xbfƒˆ˜˛ˇ˘˝€‚„…†‡‰‹›•™\\ufffd]",
    "[ÂÃâðĂÄĹ][\\xa0-\\xbf€‘’“”–—œžšŸŽŠŒ]",
    "[ÃÂ] ",
    "[√ƒ≈∆◊]",
    "‚Ä",
    "[\\u2500-\\u256c]",
    "Γ[ÇÖ]",
    "[А-я][\\xa0-\\xaa\\xac-\\xba\\xbc-\\xbfЂѓ‚†‡€‰‹›•™љњћџ]",
    "вЂ",
    "[РС][ђѓєѕіїјЃЂЉЊЌЋЏ‘’“”„…]",
  ].join("|"),
  "u",
);

const BLOCK_TAGS =
  "address|article|aside|blockquote|body|br|caption|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|img|" +
  "input|li|link|main|meta|nav|ol|option|p|pre|section|select|table|tbody|td|tfoot|th|thead|title|tr|ul|video";
const INLINE_TAGS =
  "a|abbr|acronym|b|big|cite|code|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|strong|sub|sup|" +
  "tt|u|var";
const ATTRIBUTES =
  `(?:[${BLANK}]+[a-zA-Zİı:-]+[${BLANK}]*=[${BLANK}]*` +
  `(?:"[^"<>]{0,1000}"|'[^'<>]{0,1000}'|[^${BLANK}"'<>]{1,1000})){0,20}[${BLANK}]*`;
// Python's letters without case: an i is also a dotted capital or a dotless small one.
const anyCase = (names: string): string => names.replaceAll("i", "[iİı]");
const tags = (names: string): RegExp => new RegExp(`</?(?:${anyCase(names)})${ATTRIBUTES}/?>`, "giu");
const BLOCK = tags(BLOCK_TAGS);
const INLINE = tags(INLINE_TAGS);
const HIDDEN = new RegExp(
  "<!--[^\\n]{0,10000}?-->|" +
    `<(scr[iİı]pt|style)(?![\\p{L}\\p{N}_])[^<>]{0,1000}>[^\\n]{0,100000}?</\\1[${BLANK}]*>`,
  "giu",
);
const ENTITY = /&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});/g;
const ASCII_CONTROL = /\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f]/g;
const INVISIBLE = /[\xad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff]/g;
const SURROGATE = /[\ud800-\udfff]/gu; // alone: a pair is one character
const C1 = /[\x80-\x9f]/g;
const WINDOWS_1252 = "€\0‚ƒ„…†‡ˆ‰Š‹Œ\0Ž\0\0‘’“”•–—˜™š›œ\0žŸ"; // 0x80 to 0x9f; \0 is undefined
const MOST_PASSES = 4;

/** A text as the tokenizer should see it: one blank for white space of any kind, no markup, Unicode NFC. */
export function cleanText(text: string, entities: Entities): CleanText {
  let isSuspect = false;
  const collapsed = collapse(text);
  if (PLAIN.test(collapsed)) return { text: collapsed, isSuspect };
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    isSuspect ||= MOJIBAKE.test(text.replace(ASCII_CONTROL, "").replace(SURROGATE, "\ufffd"));
    const repaired = repair(text, entities);
    const isDone = repaired === text;
    text = collapse(repaired);
    if (isDone || PLAIN.test(text)) break;
  }
  return { text, isSuspect };
}

function collapse(text: string): string {
  return text.split(BLANKS).filter(Boolean).join(" ");
}

function repair(text: string, entities: Entities): string {
  text = text.replace(ASCII_CONTROL, "").replace(SURROGATE, "\ufffd").replace(C1, readAsWindows1252);
  if (text.includes("<")) text = text.replace(HIDDEN, " ").replace(BLOCK, " ").replace(INLINE, "");
  if (text.includes("&")) text = text.replace(ENTITY, (found) => decodeEntity(found.slice(1), entities));
  return text.replace(INVISIBLE, "").normalize("NFC");
}

function readAsWindows1252(control: string): string {
  const character = WINDOWS_1252[control.charCodeAt(0) - 0x80]!;
  return character === "\0" ? "" : character;
}

/** The value of a reference without its "&", as Python's html.unescape gives it. */
function decodeEntity(name: string, entities: Entities): string {
  if (name[0] === "#") {
    const isHex = name[1] === "x" || name[1] === "X";
    return decodeNumber(isHex ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10));
  }
  const value = entities.get(name);
  if (value !== undefined) return value;
  for (let length = name.length - 1; length > 1; length--) {
    const prefix = entities.get(name.slice(0, length));
    if (prefix !== undefined) return prefix + name.slice(length);
  }
  return `&${name}`;
}

function decodeNumber(code: number): string {
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return "\ufffd";
  if (code >= 0x80 && code <= 0x9f) {
    const character = WINDOWS_1252[code - 0x80]!;
    return character === "\0" ? String.fromCharCode(code) : character;
  }
  const isInvalid =
    (code < 0x20 && code !== 0x9 && code !== 0xa && code !== 0xc && code !== 0xd) ||
    code === 0x7f ||
    (code >= 0xfdd0 && code <= 0xfdef) ||
    (code & 0xfffe) === 0xfffe;
  return isInvalid ? "" : String.fromCodePoint(code);
}
