// The models that a report carries, as exporting/browser_model.py packs them: base64 of gzip of a header and tensors.

import type { Entities } from "./clean.ts";
import { Matrix, Network, type NetworkConfig } from "./network.ts";
import { Tokenizer, type TokenizerSpec } from "./tokenizer.ts";

const FORMAT = "model/1";

/** A linear probe on the pooled state after a layer. */
export interface Probe {
  weight: Matrix;
  bias: number[];
  classes: number[];
  validation_accuracy: number;
  shuffled_accuracy: number;
  random_weights_accuracy: number;
  n: number;
}

export interface Classifier {
  network: Network;
  head: Matrix;
  bias: Float32Array;
  labelNames: string[];
  /** whether pretune adds linear models to the network, which the page does not have */
  hasStack: boolean;
  /** whether pretune reads a long text in windows, of which the page cuts out the middle */
  readsWindows: boolean;
  probes: Probe[] | null;
}

export interface LanguageModel {
  network: Network;
  head: Matrix;
}

export interface ModelPayload {
  precision: "fp16" | "int8";
  tokenizer: Tokenizer;
  entities: Entities;
  /** the longest row that a model reads, in tokens */
  maxSeqLen: number;
  /** of each token in the training text */
  counts: Uint32Array | null;
  classifier: Classifier | null;
  languageModel: LanguageModel | null;
}

interface PackedModel {
  config: NetworkConfig & { tie_word_embeddings: boolean };
  weights: Record<string, number>;
}

interface Header {
  format: string;
  precision: "fp16" | "int8";
  tokenizer: TokenizerSpec;
  merges: number;
  entities: Record<string, string>;
  max_seq_len: number;
  classifier: (PackedModel & { label_names: string[]; has_stack?: boolean; reads_windows?: boolean }) | null;
  language_model: PackedModel | null;
  counts: number | null;
  probes: (Omit<Probe, "weight"> & { weight: number })[] | null;
  tensors: { type: "fp16" | "int8" | "fp32" | "uint32"; shape: number[]; bytes: number }[];
}

/** Read the text of the page's `<script id="model">`. */
export async function readPayload(base64: string): Promise<ModelPayload> {
  const bytes = await unpack(decodeBase64(base64.trim()));
  const headerEnd = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, headerEnd))) as Header;
  if (header.format !== FORMAT) {
    throw new Error(`The model in this file has the format ${header.format}; this page reads ${FORMAT}.`);
  }
  const tensors = new Tensors(header, bytes, headerEnd);
  const { classifier, language_model: language } = header;
  return {
    precision: header.precision,
    tokenizer: new Tokenizer(header.tokenizer, tensors.integers(header.merges)),
    entities: new Map(Object.entries(header.entities)),
    maxSeqLen: header.max_seq_len,
    counts: header.counts === null ? null : tensors.integers(header.counts),
    classifier: classifier && {
      network: readNetwork(classifier, tensors),
      head: tensors.matrix(classifier.weights["classifier.weight"]!),
      bias: tensors.numbers(classifier.weights["classifier.bias"]!),
      labelNames: classifier.label_names,
      hasStack: classifier.has_stack ?? false,
      readsWindows: classifier.reads_windows ?? false,
      probes: header.probes && header.probes.map((probe) => ({ ...probe, weight: tensors.matrix(probe.weight) })),
    },
    languageModel: language && {
      network: readNetwork(language, tensors),
      head: tensors.matrix(language.weights["lm_head.weight"] ?? language.weights["transformer.embed_tokens.weight"]!),
    },
  };
}

function readNetwork(packed: PackedModel, tensors: Tensors): Network {
  const place = (name: string): number => packed.weights[`transformer.${name}.weight`]!;
  const layers = Array.from({ length: packed.config.num_layers }, (_, layer) => {
    const matrix = (name: string): Matrix => tensors.matrix(place(`blocks.${layer}.${name}`));
    return {
      attentionNorm: tensors.numbers(place(`blocks.${layer}.attention_norm`)),
      qkv: matrix("qkv_proj"),
      out: matrix("out_proj"),
      feedForwardNorm: tensors.numbers(place(`blocks.${layer}.feed_forward_norm`)),
      gateUp: matrix("gate_up_proj"),
      down: matrix("down_proj"),
    };
  });
  return new Network(packed.config, {
    embedding: tensors.matrix(place("embed_tokens")),
    layers,
    finalNorm: tensors.numbers(place("final_norm")),
  });
}

class Tensors {
  private readonly offsets: number[] = [];
  private readonly matrices = new Map<number, Matrix>();

  constructor(
    private readonly header: Header,
    private readonly bytes: Uint8Array<ArrayBuffer>,
    offset: number,
  ) {
    for (const tensor of header.tensors) {
      this.offsets.push(offset);
      offset += tensor.bytes;
    }
    if (offset !== bytes.length) {
      throw new Error(`The model in this file is damaged: it has ${bytes.length} bytes; expected ${offset}.`);
    }
  }

  /** Two models share the weights that are equal. */
  matrix(place: number): Matrix {
    const [rows, columns] = this.header.tensors[place]!.shape as [number, number];
    const matrix = this.matrices.get(place) ?? new Matrix(this.numbers(place), rows, columns);
    this.matrices.set(place, matrix);
    return matrix;
  }

  integers(place: number): Uint32Array {
    return new Uint32Array(this.copy(place).buffer);
  }

  numbers(place: number): Float32Array {
    const { type, shape } = this.header.tensors[place]!;
    const bytes = this.copy(place);
    if (type === "fp16") return decodeHalves(bytes);
    if (type === "int8") return decodeIntegers(bytes, shape[0]!, shape[1]!);
    return new Float32Array(bytes.buffer);
  }

  private copy(place: number): Uint8Array<ArrayBuffer> {
    const offset = this.offsets[place]!;
    return this.bytes.slice(offset, offset + this.header.tensors[place]!.bytes);
  }
}

/** Half precision to single: the lower bytes of all numbers come first, then the upper ones. */
function decodeHalves(bytes: Uint8Array): Float32Array {
  const count = bytes.length / 2;
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const bits = bytes[i]! | (bytes[count + i]! << 8);
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
    values[i] = bits & 0x8000 ? -size : size;
  }
  return values;
}

function decodeIntegers(bytes: Uint8Array<ArrayBuffer>, rows: number, columns: number): Float32Array {
  const scales = new Float32Array(bytes.buffer, 0, rows);
  const integers = new Int8Array(bytes.buffer, 4 * rows);
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < values.length; i++) values[i] = integers[i]! * scales[Math.floor(i / columns)]!;
  return values;
}

function decodeBase64(base64: string): Uint8Array<ArrayBuffer> {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
