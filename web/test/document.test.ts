import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { cell, trainingTable } from "../src/methods/csv.ts";
import { resolve } from "../src/pointer.ts";
import { quantity, written } from "../src/quantities.ts";
import { checked, TraceError, unpack } from "../src/source.ts";
import type { RunTrace, Stage } from "../src/trace.ts";

test("a payload is unpacked, with characters of every plane", async () => {
  const text = JSON.stringify({ text: "</script> 👍 שלום" });
  assert.equal(await unpack(gzipSync(text).toString("base64")), text);
});

test("a document of a later minor version is read", () => assert.ok(checked({ schema: "trace/1.7" })));

for (const value of [null, {}, { schema: 1 }, { schema: "trace/2.0" }, []]) {
  test(`refused: ${JSON.stringify(value)}`, () => assert.throws(() => checked(value), TraceError));
}

test("pointers", () => {
  const document = { a: [{ "b/c": 1, "d~e": null }] };
  assert.equal(resolve(document, ""), document);
  assert.equal(resolve(document, "/a/0/b~1c"), 1);
  assert.equal(resolve(document, "/a/0/d~0e"), null);
  assert.equal(resolve(document, "/a/1"), undefined);
  assert.equal(resolve(document, "/constructor"), undefined);
  assert.equal(resolve(document, "a"), undefined);
});

test("cells of a table that a spreadsheet reads", () => {
  assert.equal(cell('a "word", two'), '"a ""word"", two"');
  assert.equal(cell("=1+1"), "'=1+1");
  assert.equal(cell(-1.5), "-1.5");
  assert.equal(cell(null), "");
});

test("the training table has a row for every evaluation", () => {
  const row = { epoch: 1, step: 2, loss: 0.5, accuracy: 0.75, is_best: true, summary: "loss fell, kept" };
  const trace = { phases: { pretrain: { stage: "pretrain", evaluations: [row] }, finetune: null, scratch: null } };
  const lines = trainingTable(trace as unknown as RunTrace).split("\r\n");
  assert.equal(lines.length, 3);
  assert.match(lines[0] ?? "", /^phase,epoch,step,/);
  assert.match(lines[1] ?? "", /^pretrain,1,2,.*,true,"loss fell, kept"$/);
});

test("quantities by name, with blanks or underscores", () => {
  const stage = { shape_in: [], shape_out: [{ name: "train_tokens", value: 2000 }, { name: "rows", value: [3, 4] }] } as unknown as Stage;
  assert.equal(quantity(stage, "out", "train tokens"), 2000);
  assert.equal(quantity(stage, "in", "train tokens"), null);
  assert.equal(quantity(stage, "out", "rows"), null);
  assert.deepEqual(stage.shape_out.map(written), ["2,000 train tokens", "rows: 3\u202f×\u202f4"]);
  const ones = ["files", "classes", "polar word families", "train_documents", "tokens per row", "loss"];
  const singular = ["1 file", "1 class", "1 polar word family", "1 train document", "1 token per row", "1 loss"];
  assert.deepEqual(ones.map((name) => written({ name, value: 1 })), singular);
});
