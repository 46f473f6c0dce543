// Runs the page's engine in node for the tests: `node bundle.mjs MODEL REQUESTS ANSWERS`, all of them files.
import { readFileSync, writeFileSync } from "node:fs";

import { cleanText } from "../../web/src/engine/clean.ts";
import { Engine, parity } from "../../web/src/engine/index.ts";
import { readPayload } from "../../web/src/engine/payload.ts";

const [model, requests, answers] = process.argv.slice(2) as [string, string, string];
const payload = await readPayload(readFileSync(model).toString("base64"));
const engine = new Engine(payload);
const { tokenizer, entities } = payload;

const operations: Record<string, (text: string) => unknown> = {
  clean: (text) => cleanText(text, entities),
  encode: (text) => tokenizer.encode(text),
  encodeForFill: (text) => tokenizer.encodeForFill(text),
  predict: (text) => engine.predict(text),
  trace: (text) => engine.trace(text),
  fill: (text) => engine.fill(text),
  caution: (text) => engine.caution(text),
  refusal: (text) => (text.includes("[MASK]") ? engine.fill(text) : engine.trace(text)).then(() => null, String),
  parity: (trace) => parity(JSON.parse(trace), engine),
};

const found: Record<string, unknown[]> = {};
for (const [name, texts] of Object.entries(JSON.parse(readFileSync(requests, "utf8")) as Record<string, string[]>)) {
  const results: unknown[] = [];
  const start = performance.now();
  for (const text of texts) results.push(await operations[name]!(text));
  console.log(name, texts.length, `${(performance.now() - start).toFixed(0)} ms`);
  found[name] = results;
}
writeFileSync(answers, JSON.stringify(found));
