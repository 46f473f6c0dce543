// The transformer of model/transformer.py for one text: RMSNorm, rotary positions, attention in both directions,
// SwiGLU.
//
// T tokens, D hidden, H heads, K head dimension, F feed-forward. Arrays are row by row. Products are summed in double
// precision and stored in single. The backward pass gives gradients with respect to the embeddings only.

import type { Pacer } from "./pacer.ts";

export interface NetworkConfig {
  vocab_size: number;
  hidden_size: number;
  num_layers: number;
  num_heads: number;
  num_kv_heads: number;
  head_dim: number;
  intermediate_size: number;
  rope_theta: number;
  norm_eps: number;
}

/** A weight matrix (rows, columns), as torch stores the weight of a linear layer: (outputs, inputs). */
export class Matrix {
  private turned: Matrix | undefined;

  constructor(
    readonly values: Float32Array,
    readonly rows: number,
    readonly columns: number,
  ) {}

  row(index: number): Float32Array {
    return this.values.subarray(index * this.columns, (index + 1) * this.columns);
  }

  /** Kept, since every backward pass needs it. */
  get transposed(): Matrix {
    if (this.turned) return this.turned;
    const values = new Float32Array(this.values.length);
    for (let row = 0; row < this.rows; row++)
      for (let column = 0; column < this.columns; column++)
        values[column * this.rows + row] = this.values[row * this.columns + column]!;
    this.turned = new Matrix(values, this.columns, this.rows);
    return this.turned;
  }
}

export interface LayerWeights {
  attentionNorm: Float32Array;
  qkv: Matrix;
  out: Matrix;
  feedForwardNorm: Float32Array;
  gateUp: Matrix;
  down: Matrix;
}

export interface Weights {
  embedding: Matrix;
  layers: LayerWeights[];
  finalNorm: Float32Array;
}

/** One layer of a forward pass, with what the backward pass needs. */
export interface LayerPass {
  input: Float32Array; // T x D
  qkv: Float32Array; // T x (H + 2 KV) K, query and key turned by their positions
  attention: Float32Array; // H x T x T
  attended: Float32Array; // T x D, what attention adds
  middle: Float32Array; // T x D, input + attended
  gateUp: Float32Array; // T x 2F
  fed: Float32Array; // T x D, what the feed-forward layer adds
}

export interface Pass {
  tokens: number;
  layers: LayerPass[];
  final: Float32Array; // T x D, the residual stream after the last layer
}

export class Network {
  private cos = new Float32Array(0);
  private sin = new Float32Array(0);

  constructor(
    readonly config: NetworkConfig,
    readonly weights: Weights,
  ) {}

  /** The rows of the embedding table for some ids, T x D. */
  embed(ids: number[]): Float32Array {
    const size = this.config.hidden_size;
    const result = new Float32Array(ids.length * size);
    ids.forEach((id, position) => result.set(this.weights.embedding.row(id), position * size));
    return result;
  }

  async forward(embedded: Float32Array, pacer: Pacer): Promise<Pass> {
    const tokens = embedded.length / this.config.hidden_size;
    this.prepareRotation(tokens);
    const layers: LayerPass[] = [];
    let stream = embedded;
    for (const weights of this.weights.layers) {
      const normed = normalize(stream, weights.attentionNorm, this.config.norm_eps);
      const qkv = await multiply(normed, weights.qkv, pacer);
      this.rotate(qkv, tokens, 1);
      const { attention, heads } = await this.attend(qkv, tokens, pacer);
      const attended = await multiply(heads, weights.out, pacer);
      const middle = sum(stream, attended);
      const middleNormed = normalize(middle, weights.feedForwardNorm, this.config.norm_eps);
      const gateUp = await multiply(middleNormed, weights.gateUp, pacer);
      const fed = await multiply(this.activate(gateUp, tokens), weights.down, pacer);
      layers.push({ input: stream, qkv, attention, attended, middle, gateUp, fed });
      stream = sum(middle, fed);
    }
    return { tokens, layers, final: stream };
  }

  /** The gradient with respect to the embeddings, T x D, from that with respect to the normed final stream. */
  async backward(pass: Pass, gradient: Float32Array, pacer: Pacer): Promise<Float32Array> {
    const eps = this.config.norm_eps;
    let flowing = normalizeBackward(pass.final, this.weights.finalNorm, gradient, eps);
    for (let index = pass.layers.length - 1; index >= 0; index--) {
      const weights = this.weights.layers[index]!;
      const layer = pass.layers[index]!;
      const ofActivation = await multiply(flowing, weights.down.transposed, pacer);
      const ofGateUp = this.activateBackward(layer.gateUp, ofActivation, pass.tokens);
      const ofFed = await multiply(ofGateUp, weights.gateUp.transposed, pacer);
      flowing = sum(flowing, normalizeBackward(layer.middle, weights.feedForwardNorm, ofFed, eps));
      const ofHeads = await multiply(flowing, weights.out.transposed, pacer);
      const ofQkv = await this.attendBackward(layer, ofHeads, pass.tokens, pacer);
      this.rotate(ofQkv, pass.tokens, -1);
      const ofNormed = await multiply(ofQkv, weights.qkv.transposed, pacer);
      flowing = sum(flowing, normalizeBackward(layer.input, weights.attentionNorm, ofNormed, eps));
    }
    return flowing;
  }

  /** Multiplications of a forward pass over so many tokens, about; a backward pass has as many. */
  productsOf(tokens: number): number {
    const { num_heads, head_dim } = this.config;
    const ofToken = this.weights.layers.reduce(
      (sum, { qkv, out, gateUp, down }) =>
        sum + [qkv, out, gateUp, down].reduce((products, { values }) => products + values.length, 0),
      0,
    );
    return tokens * (ofToken + 2 * this.weights.layers.length * tokens * num_heads * head_dim);
  }

  /** The mean over the positions of the normed stream (D). */
  pool(stream: Float32Array): Float64Array {
    const size = this.config.hidden_size;
    const normed = normalize(stream, this.weights.finalNorm, this.config.norm_eps);
    const pooled = new Float64Array(size);
    for (let i = 0; i < normed.length; i++) pooled[i % size]! += normed[i]!;
    return pooled.map((value) => value / (normed.length / size));
  }

  private prepareRotation(tokens: number): void {
    const { head_dim: size, rope_theta: theta } = this.config;
    if (this.cos.length >= tokens * size) return;
    this.cos = new Float32Array(tokens * size);
    this.sin = new Float32Array(tokens * size);
    for (let position = 0; position < tokens; position++) {
      for (let i = 0; i < size; i++) {
        const angle = position * Math.fround(theta ** (-(2 * (i % (size / 2))) / size));
        this.cos[position * size + i] = Math.cos(angle);
        this.sin[position * size + i] = Math.sin(angle);
      }
    }
  }

  /** Turn each pair (x_i, x_{i+K/2}) of query and key by the angle of its position, or back. */
  private rotate(qkv: Float32Array, tokens: number, direction: 1 | -1): void {
    const { head_dim: size, num_heads, num_kv_heads } = this.config;
    const half = size / 2;
    const width = (num_heads + 2 * num_kv_heads) * size;
    for (let position = 0; position < tokens; position++) {
      for (let head = 0; head < num_heads + num_kv_heads; head++) {
        const at = position * width + head * size;
        for (let i = 0; i < half; i++) {
          const cos = this.cos[position * size + i]!;
          const sin = direction * this.sin[position * size + i]!;
          const first = qkv[at + i]!;
          const second = qkv[at + i + half]!;
          qkv[at + i] = first * cos - second * sin;
          qkv[at + i + half] = second * cos + first * sin;
        }
      }
    }
  }

  private async attend(
    qkv: Float32Array,
    tokens: number,
    pacer: Pacer,
  ): Promise<{ attention: Float32Array; heads: Float32Array }> {
    const { head_dim: size, num_heads } = this.config;
    const { width, keyOf, valueOf } = this.layout();
    const attention = new Float32Array(num_heads * tokens * tokens);
    const heads = new Float32Array(tokens * num_heads * size);
    const scores = new Float64Array(tokens);
    const mixed = new Float64Array(size);
    const scale = size ** -0.5;
    for (let head = 0; head < num_heads; head++) {
      for (let query = 0; query < tokens; query++) {
        const from = query * width + head * size;
        let largest = -Infinity;
        for (let key = 0; key < tokens; key++) {
          scores[key] = scale * dot(qkv, from, qkv, key * width + keyOf(head), size);
          if (scores[key]! > largest) largest = scores[key]!;
        }
        let total = 0;
        for (let key = 0; key < tokens; key++) total += scores[key] = Math.exp(scores[key]! - largest);
        mixed.fill(0);
        for (let key = 0; key < tokens; key++) {
          const weight = scores[key]! / total;
          attention[(head * tokens + query) * tokens + key] = weight;
          const value = key * width + valueOf(head);
          for (let i = 0; i < size; i++) mixed[i]! += weight * qkv[value + i]!;
        }
        heads.set(mixed, query * num_heads * size + head * size);
        if (pacer.isDue) await pacer.pause();
      }
    }
    return { attention, heads };
  }

  private async attendBackward(
    layer: LayerPass,
    ofHeads: Float32Array,
    tokens: number,
    pacer: Pacer,
  ): Promise<Float32Array> {
    const { head_dim: size, num_heads } = this.config;
    const { width, keyOf, valueOf } = this.layout();
    const { qkv, attention } = layer;
    const result = new Float32Array(qkv.length);
    const ofWeights = new Float64Array(tokens);
    const scale = size ** -0.5;
    for (let head = 0; head < num_heads; head++) {
      for (let query = 0; query < tokens; query++) {
        const from = query * num_heads * size + head * size;
        const row = (head * tokens + query) * tokens;
        let mean = 0;
        for (let key = 0; key < tokens; key++) {
          const value = key * width + valueOf(head);
          const weight = attention[row + key]!;
          ofWeights[key] = dot(ofHeads, from, qkv, value, size);
          mean += weight * ofWeights[key]!;
          for (let i = 0; i < size; i++) result[value + i]! += weight * ofHeads[from + i]!;
        }
        const ofQuery = query * width + head * size;
        for (let key = 0; key < tokens; key++) {
          const ofScore = scale * attention[row + key]! * (ofWeights[key]! - mean);
          const ofKey = key * width + keyOf(head);
          for (let i = 0; i < size; i++) {
            result[ofQuery + i]! += ofScore * qkv[ofKey + i]!;
            result[ofKey + i]! += ofScore * qkv[ofQuery + i]!;
          }
        }
        if (pacer.isDue) await pacer.pause();
      }
    }
    return result;
  }

  /** The width of a row of queries, keys and values, and where a head's keys and values begin in it. */
  private layout(): { width: number; keyOf(head: number): number; valueOf(head: number): number } {
    const { head_dim: size, num_heads, num_kv_heads } = this.config;
    const group = num_heads / num_kv_heads;
    return {
      width: (num_heads + 2 * num_kv_heads) * size,
      keyOf: (head) => (num_heads + Math.floor(head / group)) * size,
      valueOf: (head) => (num_heads + num_kv_heads + Math.floor(head / group)) * size,
    };
  }

  /** silu(gate) * up, T x F. */
  private activate(gateUp: Float32Array, tokens: number): Float32Array {
    const inner = this.config.intermediate_size;
    const result = new Float32Array(tokens * inner);
    for (let position = 0; position < tokens; position++) {
      const at = position * 2 * inner;
      for (let i = 0; i < inner; i++) {
        const gate = gateUp[at + i]!;
        result[position * inner + i] = (gate / (1 + Math.exp(-gate))) * gateUp[at + inner + i]!;
      }
    }
    return result;
  }

  private activateBackward(gateUp: Float32Array, gradient: Float32Array, tokens: number): Float32Array {
    const inner = this.config.intermediate_size;
    const result = new Float32Array(gateUp.length);
    for (let position = 0; position < tokens; position++) {
      const at = position * 2 * inner;
      for (let i = 0; i < inner; i++) {
        const gate = gateUp[at + i]!;
        const sigmoid = 1 / (1 + Math.exp(-gate));
        const flowing = gradient[position * inner + i]!;
        result[at + i] = flowing * gateUp[at + inner + i]! * sigmoid * (1 + gate * (1 - sigmoid));
        result[at + inner + i] = flowing * gate * sigmoid;
      }
    }
    return result;
  }
}

/** x / sqrt(mean(x^2) + eps) * weight, row by row. */
export function normalize(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  const size = weight.length;
  const result = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += size) {
    const scale = inverseRms(x, at, size, eps);
    for (let i = 0; i < size; i++) result[at + i] = x[at + i]! * scale * weight[i]!;
  }
  return result;
}

function normalizeBackward(x: Float32Array, weight: Float32Array, gradient: Float32Array, eps: number): Float32Array {
  const size = weight.length;
  const result = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += size) {
    const scale = inverseRms(x, at, size, eps);
    let along = 0;
    for (let i = 0; i < size; i++) along += weight[i]! * gradient[at + i]! * x[at + i]!;
    const back = (along * scale ** 3) / size;
    for (let i = 0; i < size; i++) result[at + i] = scale * weight[i]! * gradient[at + i]! - back * x[at + i]!;
  }
  return result;
}

export function inverseRms(x: Float32Array, at: number, size: number, eps: number): number {
  return 1 / Math.sqrt(dot(x, at, x, at, size) / size + eps);
}

export function dot(a: ArrayLike<number>, fromA: number, b: ArrayLike<number>, fromB: number, size: number): number {
  let total = 0;
  for (let i = 0; i < size; i++) total += a[fromA + i]! * b[fromB + i]!;
  return total;
}

function sum(a: Float32Array, b: Float32Array): Float32Array {
  const result = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) result[i] = a[i]! + b[i]!;
  return result;
}

/** x (T, inputs) times the transpose of a weight (outputs, inputs): (T, outputs). */
export async function multiply(x: Float32Array, weight: Matrix, pacer: Pacer): Promise<Float32Array> {
  const tokens = x.length / weight.columns;
  const result = new Float32Array(tokens * weight.rows);
  const blocks = weight.rows - (weight.rows % 4);
  for (let row = 0; row < blocks; row += 4) {
    multiplyBlock(x, weight, result, row, tokens);
    if (pacer.isDue) await pacer.pause();
  }
  const { rows, columns, values } = weight;
  for (let row = blocks; row < rows; row++)
    for (let token = 0; token < tokens; token++)
      result[token * rows + row] = dot(x, token * columns, values, row * columns, columns);
  return result;
}

/** Four rows of the weight with all rows of x, two at a time: every number that is loaded is used several times. */
function multiplyBlock(x: Float32Array, weight: Matrix, result: Float32Array, row: number, tokens: number): void {
  const { values, rows, columns } = weight;
  const w0 = row * columns;
  const w1 = w0 + columns;
  const w2 = w1 + columns;
  const w3 = w2 + columns;
  for (let token = 0; token < tokens; token += 2) {
    const last = token + 1 < tokens ? token + 1 : token; // the same one twice where one is left
    const a = token * columns;
    const b = last * columns;
    let a0 = 0;
    let a1 = 0;
    let a2 = 0;
    let a3 = 0;
    let b0 = 0;
    let b1 = 0;
    let b2 = 0;
    let b3 = 0;
    for (let i = 0; i < columns; i++) {
      const xa = x[a + i]!;
      const xb = x[b + i]!;
      const v0 = values[w0 + i]!;
      const v1 = values[w1 + i]!;
      const v2 = values[w2 + i]!;
      const v3 = values[w3 + i]!;
      a0 += xa * v0;
      a1 += xa * v1;
      a2 += xa * v2;
      a3 += xa * v3;
      b0 += xb * v0;
      b1 += xb * v1;
      b2 += xb * v2;
      b3 += xb * v3;
    }
    const toA = token * rows + row;
    result[toA] = a0;
    result[toA + 1] = a1;
    result[toA + 2] = a2;
    result[toA + 3] = a3;
    const toB = last * rows + row;
    result[toB] = b0;
    result[toB + 1] = b1;
    result[toB + 2] = b2;
    result[toB + 3] = b3;
  }
}
