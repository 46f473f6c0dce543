import assert from "node:assert/strict";
import { test } from "node:test";
import { cutInto, isUnchanged, Predicted, TokenRow } from "../src/flow/example.tsx";
import { summary } from "../src/flow/index.tsx";
import { handedOn } from "../src/flow/ribbon.tsx";
import { LEFT_OUT } from "../src/text.tsx";
import type { Example, RunTrace, Stage } from "../src/trace.ts";

const TRACE = { phases: { pretrain: null }, tokenizer: null } as unknown as RunTrace;

function stage(name: string, shapeOut: Record<string, number>): Stage {
  const shape_out = Object.entries(shapeOut).map(([each, value]) => ({ name: each, value }));
  return { name, status: "finished", shape_in: [], shape_out, dropped: [] } as unknown as Stage;
}

test("what fine-tuning hands on is named by what it is", () => {
  assert.deepEqual(handedOn(TRACE, stage("finetune", { classes: 4 })), ["1\u202f×\u202f4", "probabilities per text"]);
  assert.deepEqual(handedOn(TRACE, stage("finetune", { scores: 1 })), ["1", "score per text"]);
  assert.deepEqual(handedOn(TRACE, stage("finetune", { score: 1 })), ["1", "score per text"]); // as 0.3 wrote it
  assert.deepEqual(handedOn(TRACE, stage("finetune", { "entity types": 5 })), ["5", "entity types"]);
  assert.deepEqual(handedOn(TRACE, stage("finetune", { parameters: 26_543_616, "tokens seen": 9 })), ["26,543,616", "parameters"]);
});

test("prepared rows and conversations are both counted", () => {
  const rows = { "train rows": 8, "validation rows": 1, "test rows": 1, "tokens per row": 12.5 };
  assert.deepEqual(handedOn(TRACE, stage("prepare", rows)), ["10", "labelled rows of 12.5 tokens"]);
  const conversations = { "train conversations": 8, "validation conversations": 1, "test conversations": 0, "tokens per conversation": 31 };
  assert.deepEqual(handedOn(TRACE, stage("prepare", conversations)), ["9", "conversations of 31 tokens"]);
});

test("what was dropped before it was a document is not counted among the documents", () => {
  const drop = (count: number) => [{ rule: "empty", count, reason: "", examples: [] }];
  const collect = { ...stage("collect", { documents: 90 }), dropped: drop(10) };
  const preprocess = { ...stage("preprocess", { train_tokens: 800, validation_tokens: 40 }), dropped: drop(5) };
  const trace = { stages: [collect, preprocess], phases: { pretrain: null }, example: null } as unknown as RunTrace;
  assert.equal(summary(trace), "90 documents became 840 tokens; 5 documents were dropped on the way.");
});


test("a text that was left out is not said to be unchanged", () => {
  assert.equal(isUnchanged({ text: "A", clean_text: "A" }), true);
  assert.equal(isUnchanged({ text: LEFT_OUT, clean_text: LEFT_OUT }), false);
});

test("the words of a text are apart where the tokenizer writes no spaces", () => {
  const joined = (...tokens: string[]) => TokenRow({ tokens, ids: [] }).props.children.map((item: { props: { class: string } }) => item.props.class.includes("is-continued"));
  assert.deepEqual(joined("[BOS]", " a", "b", " c"), [false, true, false, false]);
  assert.deepEqual(joined("[CLS]", "un", "##like", "it", "##"), [false, true, false, false, false]);
});

test("of a long text, the tokens that the document has are not all tokens", () => {
  assert.equal(cutInto(["a", "b"], [7, 8]), "; cut into 2 tokens, each with its id");
  assert.equal(cutInto(Array(512).fill("a"), Array(512).fill(7)), "; its first 512 tokens, each with its id");
  assert.equal(cutInto([LEFT_OUT, LEFT_OUT], []), "; cut into 2 tokens"); // without texts there are no ids
});

test("a prediction without a probability is shown, too", () => {
  const example = { predicted: "3.4", probability: null, label: "3.5", split: "test" } as unknown as Example;
  const [, note] = [Predicted({ example, labels: [] })?.props.children].flat();
  assert.equal(note.type, "p");
  assert.equal(Predicted({ example: { ...example, predicted: null }, labels: [] }), null);
});
