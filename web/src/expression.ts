// The language in which the answers of the quiz are computed from the document of the run; the same one as in
// src/pretune/run_trace/expression.py, whose docstring defines it. A list is a call in prefix form, and there are no
// loops and no definitions, so every expression ends.

import { softmax } from "./prediction/arithmetic.ts";

export type Value = number | string | boolean | null | Value[] | { [key: string]: Value };

/** An expression that has no value: an unknown name, a wrong type, a pointer to nothing, a division by zero, ... */
export class ExpressionError extends Error {}

const DEPTH_LIMIT = 64;

/** The value of an expression read against the document; throws an ExpressionError. */
export function evaluate(expression: unknown, document: unknown): Value {
  return evaluateAt(expression, document as Value, 0);
}

function evaluateAt(expression: unknown, document: Value, depth: number): Value {
  if (!Array.isArray(expression)) {
    if (typeof expression === "number") return finite(expression);
    if (expression === null || typeof expression === "string" || typeof expression === "boolean") return expression;
    throw new ExpressionError("An expression is a number, a string, true, false, null or a call.");
  }
  if (depth >= DEPTH_LIMIT) throw new ExpressionError(`More than ${DEPTH_LIMIT} calls are inside each other.`);
  const [name, ...rest] = expression;
  const define = typeof name === "string" ? FUNCTIONS.get(name) : undefined;
  if (!define) throw new ExpressionError(`There is no function ${JSON.stringify(name) ?? "undefined"}.`);
  if (define.arity !== null && define.arity !== rest.length) {
    throw new ExpressionError(`${name} takes ${define.arity} values, and ${rest.length} are given.`);
  }
  return define.apply(
    rest.map((part) => evaluateAt(part, document, depth + 1)),
    document,
  );
}

interface Definition {
  /** number of arguments; null for any */
  arity: number | null;
  apply(values: Value[], document: Value): Value;
}

const FUNCTIONS = new Map<string, Definition>([
  // reading
  define("at", 1, ([pointer], document) => read(document, text(pointer))),
  define("index", 2, ([values, position]) => element(list(values), position)),
  define("map", 2, ([values, key]) => list(values).map((value) => member(value, key))),
  define("first", 1, ([values]) => element(list(values), 0)),
  define("last", 1, ([values]) => element(list(values), list(values).length - 1)),
  define("take", 2, ([values, positions]) => list(positions).map((position) => element(list(values), position))),
  // lists
  define("list", null, (values) => values),
  define("len", 1, ([value]) => size(value)),
  define("sum", 1, ([values]) => finite(numbers(values).reduce((sum, value) => sum + value, 0))),
  define("min", 1, ([values]) => Math.min(...filled(values))),
  define("max", 1, ([values]) => Math.max(...filled(values))),
  define("argmin", 1, ([values]) => filled(values).indexOf(Math.min(...filled(values)))),
  define("argmax", 1, ([values]) => filled(values).indexOf(Math.max(...filled(values)))),
  define("sort", 1, ([values]) => [...numbers(values)].sort((a, b) => a - b)),
  define("flatten", 1, ([values]) => list(values).flatMap((inner) => list(inner))),
  define("distinct", 1, ([values]) => [...new Set(list(values).map(scalar))]),
  define("where", 1, ([values]) => booleans(values).flatMap((value, position) => (value ? [position] : []))),
  define("all", 1, ([values]) => booleans(values).every((value) => value)),
  define("any", 1, ([values]) => booleans(values).some((value) => value)),
  define("softmax", 1, ([values]) => softmax(filled(values))),
  // element by element
  ...arithmetic("add", 2, (a, b) => a + b),
  ...arithmetic("sub", 2, (a, b) => a - b),
  ...arithmetic("mul", 2, (a, b) => a * b),
  ...arithmetic("div", 2, (a, b) => a / (b === 0 ? fail("Nothing can be divided by zero.") : b)),
  ...arithmetic("abs", 1, (a) => Math.abs(a)),
  ...arithmetic("sqrt", 1, (a) => (a < 0 ? fail("A negative number has no square root.") : Math.sqrt(a))),
  ...arithmetic("ln", 1, (a) => (a <= 0 ? fail("Only a positive number has a logarithm.") : Math.log(a))),
  ...arithmetic("exp", 1, (a) => Math.exp(a)),
  ...arithmetic("floor", 1, (a) => Math.floor(a)),
  ...arithmetic("round", 1, (a) => Math.floor(a + 0.5)),
  ...comparison("lt", 2, (a, b) => a < b),
  ...comparison("le", 2, (a, b) => a <= b),
  ...comparison("gt", 2, (a, b) => a > b),
  ...comparison("ge", 2, (a, b) => a >= b),
  ...comparison("near", 3, (a, b, tolerance) => Math.abs(a - b) <= tolerance),
  define("eq", 2, (values) => spread(values, ([a, b]) => scalar(a) === scalar(b))),
  define("ne", 2, (values) => spread(values, ([a, b]) => scalar(a) !== scalar(b))),
  define("and", 2, (values) => spread(values, ([a, b]) => [truth(a), truth(b)].every((value) => value))),
  define("or", 2, (values) => spread(values, ([a, b]) => [truth(a), truth(b)].some((value) => value))),
  define("not", 1, (values) => spread(values, ([a]) => !truth(a))),
  // choice
  define("if", 3, ([condition, yes, no]) => (truth(condition) ? yes! : no!)),
]);

function define(name: string, arity: number | null, apply: Definition["apply"]): [string, Definition] {
  return [name, { arity, apply }];
}

function arithmetic(name: string, arity: number, apply: (a: number, b: number) => number): [string, Definition][] {
  return [define(name, arity, (values) => spread(values, ([a, b]) => finite(apply(number(a), arity > 1 ? number(b) : 0))))];
}

function comparison(
  name: string,
  arity: number,
  apply: (a: number, b: number, c: number) => boolean,
): [string, Definition][] {
  return [
    define(name, arity, (values) =>
      spread(values, ([a, b, c]) => apply(number(a), number(b), arity > 2 ? number(c) : 0)),
    ),
  ];
}

/** Applies a function of scalars; where one of them is a list, to its elements, beside which a scalar is repeated. */
function spread(values: Value[], apply: (scalars: Value[]) => Value): Value {
  const lists = values.filter((value) => Array.isArray(value));
  if (lists.length === 0) return apply(values);
  const length = lists[0]!.length;
  if (lists.some((other) => other.length !== length)) fail("Lists of different lengths do not go together.");
  return Array.from({ length }, (_, at) =>
    spread(
      values.map((value) => (Array.isArray(value) ? value[at]! : value)),
      apply,
    ),
  );
}

/** The value at a JSON pointer (RFC 6901). */
export function read(document: Value, pointer: string): Value {
  if (pointer === "") return document;
  if (!pointer.startsWith("/")) return fail(`The pointer ${JSON.stringify(pointer)} does not begin with a slash.`);
  return pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((value: Value, part) => {
      if (Array.isArray(value)) {
        return /^(0|[1-9]\d*)$/.test(part) ? element(value, Number(part)) : fail(`${part} is no position in a list.`);
      }
      return member(value, part);
    }, document);
}

function member(value: Value, key: Value | undefined): Value {
  if (typeof key === "number") return element(list(value), key);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return fail("A member needs an object.");
  const name = text(key);
  return Object.hasOwn(value, name) ? value[name]! : fail(`There is no member ${JSON.stringify(name)}.`);
}

function element(values: Value[], position: Value | undefined): Value {
  const at = number(position);
  const value = Number.isInteger(at) && at >= 0 ? values[at] : undefined;
  return value === undefined ? fail(`There is no element ${at} in a list of ${values.length}.`) : value;
}

function size(value: Value | undefined): number {
  if (typeof value === "string") return [...value].length;
  if (Array.isArray(value)) return value.length;
  if (typeof value === "object" && value !== null) return Object.keys(value).length;
  return fail("Only a list, an object or a string has a length.");
}

function list(value: Value | undefined): Value[] {
  return Array.isArray(value) ? value : fail("A list is needed.");
}

function numbers(value: Value | undefined): number[] {
  return list(value).map(number);
}

function filled(value: Value | undefined): number[] {
  const values = numbers(value);
  return values.length > 0 ? values : fail("A list with at least one number is needed.");
}

function booleans(value: Value | undefined): boolean[] {
  return list(value).map(truth);
}

function number(value: Value | undefined): number {
  return typeof value === "number" ? finite(value) : fail("A number is needed.");
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : fail("A string is needed.");
}

function truth(value: Value | undefined): boolean {
  return typeof value === "boolean" ? value : fail("True or false is needed.");
}

function scalar(value: Value | undefined): Value {
  return value !== undefined && (value === null || typeof value !== "object") ? value : fail("A single value is needed.");
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : fail("The result is not a finite number.");
}

function fail(sentence: string): never {
  throw new ExpressionError(sentence);
}
