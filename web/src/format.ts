// Numbers as the page writes them: true minus, commas between thousands, a narrow no-break space before a unit.

export const THIN_SPACE = "\u202f";
export const MINUS = "\u2212";
export const NONE = "–";

/** A value that may be null, written by `write`; a dash where there is none. */
export function or<T>(value: T | null | undefined, write: (value: T) => string): string {
  return value === null || value === undefined ? NONE : write(value);
}

/** A number with a fixed count of decimals: 1,234.5, −0.6. A result that rounds to zero has no sign. */
export function fixed(value: number, decimals: number): string {
  // toFixed rounds the exact value, as Python does; toLocaleString would write 12.85 as 12.9 and not 12.8.
  const [whole = "", fraction] = Math.abs(value).toFixed(decimals).split(".");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction === undefined ? "" : `.${fraction}`);
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** +1.12, −0.13, 0.00 */
export function signed(value: number, decimals = 2): string {
  const text = fixed(value, decimals);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A count: 60,000. A value that is no whole number keeps one decimal. */
export function count(value: number): string {
  return fixed(value, Number.isInteger(value) ? 0 : 1);
}

/** A number with so many significant digits, and without exponent where it stays short: 0.0019, 2 × 10⁻⁷. */
export function significant(value: number, digits = 3): string {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : NONE;
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  if (exponent < -4 || exponent > 8) return scientific(value, Math.min(digits, 2));
  return fixed(value, Math.max(0, digits - 1 - exponent)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** The same with its sign, for differences of numbers that may be of any size: +0.0042, −12.3. */
export function signedSignificant(value: number, digits = 3): string {
  return value > 0 ? `+${significant(value, digits)}` : significant(value, digits);
}

const SUPERSCRIPTS: Record<string, string> = {
  "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸", "9": "⁹", "-": "⁻", "+": "",
};

/** 2 × 10⁻⁷ */
export function scientific(value: number, digits = 2): string {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? "0" : NONE;
  const [mantissa = "", exponent = ""] = value.toExponential(Math.max(0, digits - 1)).split("e");
  const power = [...exponent].map((character) => SUPERSCRIPTS[character] ?? "").join("");
  return `${mantissa.replace("-", MINUS).replace(/\.0+$/, "")}${THIN_SPACE}×${THIN_SPACE}10${power}`;
}

/** A fraction as a percentage: 99.4 %. */
export function percent(fraction: number, decimals = 1): string {
  return `${fixed(100 * fraction, decimals)}${THIN_SPACE}%`;
}

/** A softmax probability as a percentage. It is never 0 or 1, whatever it rounds to, and so is never written as such. */
export function probability(value: number): string {
  if (value < 0.0001) return `<0.01${THIN_SPACE}%`;
  if (value > 0.9999) return `>99.99${THIN_SPACE}%`;
  return percent(value, value < 0.01 || value > 0.999 ? 2 : 1);
}

/** A difference of fractions in points: +13.4, −0.6, 0.0. */
export function points(difference: number): string {
  return signedTelling(100 * difference, 1);
}

/** So many decimals, or one or two more where fewer would hide on which side of zero the value lies: −0.03. */
export function telling(value: number, decimals: number): string {
  const written = [0, 1, 2].map((more) => fixed(value, decimals + more));
  return written.find((text) => /[1-9]/.test(text)) ?? fixed(0, decimals);
}

/** The same with its sign. */
export function signedTelling(value: number, decimals: number): string {
  const text = telling(value, decimals);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** The ends of an interval of differences, in points: −2.3 to −0.03. */
export function pointsRange(low: number, high: number): string {
  return `${telling(100 * low, 1)} to ${telling(100 * high, 1)}`;
}

/** The ends of an interval of fractions: 98.9 to 99.6. */
export function range(low: number, high: number): string {
  return `${fixed(100 * low, 1)} to ${fixed(100 * high, 1)}`;
}

/** A loss in nats: two decimals from 1 on, three below. */
export function nats(value: number): string {
  return fixed(value, Math.abs(value) >= 1 ? 2 : 3);
}

/** A p-value: p < 0.001, p = 0.012. */
export function pValue(value: number): string {
  return value < 0.001 ? "p < 0.001" : `p = ${fixed(value, 3)}`;
}

/** A duration: 0.9 s, 82.1 s, 2 min 47 s, 1 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 99.95) return `${fixed(seconds, 1)}${THIN_SPACE}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}${THIN_SPACE}min ${whole % 60}${THIN_SPACE}s`;
  const minutes = Math.round(whole / 60);
  return `${count(Math.floor(minutes / 60))}${THIN_SPACE}h ${minutes % 60}${THIN_SPACE}min`;
}

/** Time since the start, as on a clock: 1:22, 1:02:05. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, two(whole % 60)];
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** Bytes in decimal units: 273 MB, 2.1 GB. */
export function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${fixed(value, unit > 0 && value < 9.95 ? 1 : 0)}${THIN_SPACE}${units[unit]}`;
}

/** A shape: 43,621 × 50. */
export function shape(sizes: number[]): string {
  return sizes.map(count).join(`${THIN_SPACE}×${THIN_SPACE}`);
}

/** An instant in words, in UTC: 29 November 2026, 01:21 UTC. What is no instant stays as it is. */
export function instant(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  return `${day}, ${date.toISOString().slice(11, 16)} UTC`;
}

const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/** A small whole number in words, with its noun: one seed, two epochs, 12 rows. */
export function counted(value: number, singular: string, plural = `${singular}s`): string {
  return `${WORDS[value] ?? count(value)} ${value === 1 ? singular : plural}`;
}

/** The first letter in upper case. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A sentence of the document with the minus signs and the spaces of this page. */
export function typeset(sentence: string): string {
  return sentence
    .replace(/\b\d(?:\.\d+)?e[-+]\d+\b/g, (written) => scientific(Number(written)))
    .replace(/(\d) ?%/g, `$1${THIN_SPACE}%`)
    .replace(/(^|[\s(])-(?=\d)/g, `$1${MINUS}`)
    .replace(/ = (?=\d)/g, "\u00a0=\u00a0");
}
