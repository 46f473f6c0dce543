// The embedding layer of one text, as tracing/embedding.py describes it: vector lengths, nearest neighbours, and a
// plane through its tokens. Every dimension is standardised over the vocabulary first (Timkey and van Schijndel, 2021).

import type { Embedding, Neighbours, Pca } from "../trace.ts";
import { dot, Matrix, multiply } from "./network.ts";
import type { Pacer } from "./pacer.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { NumberedToken } from "./words.ts";

const NEIGHBOURS = 5;
const FREQUENT_TOKENS = 200;
const SQUARINGS = 12; // of the covariance: 4096 steps of the power method

/** The embedding table of a model, standardised once. */
export class EmbeddingSpace {
  private readonly firstOrdinary: number;
  private readonly units: Matrix; // every row has the length 1
  private readonly standardised: Matrix;

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly table: Matrix,
    private readonly counts: Uint32Array | null,
  ) {
    this.firstOrdinary = Math.max(...Object.values(tokenizer.special).filter((id) => id !== null)) + 1;
    this.standardised = standardise(table, this.firstOrdinary);
    this.units = toUnits(this.standardised);
  }

  async describe(tokens: NumberedToken[], pacer: Pacer): Promise<Embedding> {
    const shown = tokens.filter((token) => !token.is_special);
    return {
      norms: tokens.map((token) => {
        const row = this.table.row(token.id);
        return Math.sqrt(dot(row, 0, row, 0, row.length));
      }),
      neighbours: await this.neighbours(shown, pacer),
      pca: await this.plane(shown, pacer),
    };
  }

  private async neighbours(shown: NumberedToken[], pacer: Pacer): Promise<Neighbours[]> {
    const found = new Map<number, Neighbours["words"]>();
    for (const { id } of shown) {
      if (found.has(id)) continue;
      const cosines = await multiply(this.units.row(id), this.units, pacer);
      const others = range(this.firstOrdinary, this.tokenizer.vocabSize).filter((other) => other !== id);
      const best = largest(others, (other) => cosines[other]!, NEIGHBOURS);
      found.set(
        id,
        best.map((other) => {
          const surface = this.tokenizer.surface(other);
          return { word: surface.trim() || surface, probability: cosines[other]! };
        }),
      );
    }
    return shown.map((token) => ({ position: token.position, words: found.get(token.id)! }));
  }

  private async plane(shown: NumberedToken[], pacer: Pacer): Promise<Pca | null> {
    const own = [...new Set(shown.map((token) => token.id))];
    const frequent = this.frequentTokens().filter((id) => !own.includes(id));
    const ids = [...own, ...frequent];
    if (!own.length || ids.length < 3) return null;
    const { coordinates, variance } = await principalPlane(ids.map((id) => this.standardised.row(id)), pacer);
    const place = new Map(ids.map((id, index) => [id, coordinates[index]!]));
    const point = (surface: string, id: number, position: number | null): Pca["points"][number] => {
      const [x, y] = place.get(id)!;
      return { surface, x, y, position };
    };
    const kind = this.counts === null ? "first tokens of the vocabulary" : "most frequent tokens of the training text";
    return {
      points: [
        ...shown.map((token) => point(token.surface, token.id, token.position)),
        ...frequent.map((id) => point(this.tokenizer.surface(id), id, null)),
      ],
      variance,
      fitted_on:
        `the ${own.length} different tokens of this text and ${frequent.length} of the ${kind}, ` +
        "each dimension standardised over the vocabulary",
    };
  }

  private frequentTokens(): number[] {
    const ids = range(this.firstOrdinary, this.tokenizer.vocabSize);
    const { counts } = this;
    if (counts === null) return ids.slice(0, FREQUENT_TOKENS);
    return largest(ids, (id) => counts[id]!, FREQUENT_TOKENS).filter((id) => counts[id]! > 0);
  }
}

/** The items with the largest values, largest first; of equal ones, the first. */
export function largest(items: number[], value: (item: number) => number, count: number): number[] {
  return [...items].sort((a, b) => value(b) - value(a)).slice(0, count);
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

/** Each dimension with mean 0 and deviation 1 over the tokens that stand for text. */
function standardise(table: Matrix, firstOrdinary: number): Matrix {
  const { rows, columns, values } = table;
  const result = new Float32Array(values.length);
  const count = rows - firstOrdinary;
  for (let column = 0; column < columns; column++) {
    let mean = 0;
    for (let row = firstOrdinary; row < rows; row++) mean += values[row * columns + column]! / count;
    let square = 0;
    for (let row = firstOrdinary; row < rows; row++) square += (values[row * columns + column]! - mean) ** 2;
    const deviation = Math.max(1e-12, Math.sqrt(square / (count - 1)));
    for (let row = 0; row < rows; row++)
      result[row * columns + column] = (values[row * columns + column]! - mean) / deviation;
  }
  return new Matrix(result, rows, columns);
}

function toUnits(matrix: Matrix): Matrix {
  const result = new Float32Array(matrix.values.length);
  for (let row = 0; row < matrix.rows; row++) {
    const values = matrix.row(row);
    const length = Math.max(1e-12, Math.sqrt(dot(values, 0, values, 0, values.length)));
    for (let i = 0; i < values.length; i++) result[row * matrix.columns + i] = values[i]! / length;
  }
  return new Matrix(result, matrix.rows, matrix.columns);
}

/** Coordinates along the first two principal components, and the fraction of the variance of each; the largest weight
 * of a component is positive. */
async function principalPlane(
  vectors: Float32Array[],
  pacer: Pacer,
): Promise<{ coordinates: [number, number][]; variance: number[] }> {
  const size = vectors[0]!.length;
  const mean = new Float64Array(size);
  for (const vector of vectors) for (let i = 0; i < size; i++) mean[i]! += vector[i]! / vectors.length;
  const centred = new Matrix(new Float32Array(size * vectors.length), size, vectors.length); // a row for each dimension
  vectors.forEach((vector, index) => {
    for (let i = 0; i < size; i++) centred.values[i * vectors.length + index] = vector[i]! - mean[i]!;
  });
  let covariance = await multiply(centred.values, centred, pacer);
  let total = 0;
  for (let i = 0; i < size; i++) total += covariance[i * size + i]!;
  const coordinates = vectors.map((): [number, number] => [0, 0]);
  const variance = [0, 0];
  for (const which of [0, 1] as const) {
    if (!(total > 0)) break;
    const { direction, value } = await principalDirection(covariance, size, total, pacer);
    variance[which] = value / total;
    vectors.forEach((_, index) => {
      for (let i = 0; i < size; i++)
        coordinates[index]![which] += direction[i]! * centred.values[i * vectors.length + index]!;
    });
    covariance = covariance.map((each, at) => each - value * direction[Math.floor(at / size)]! * direction[at % size]!);
  }
  return { coordinates, variance };
}

/** The eigenvector of the largest eigenvalue: a high power of the matrix has it in every column. */
async function principalDirection(
  covariance: Float32Array,
  size: number,
  total: number,
  pacer: Pacer,
): Promise<{ direction: Float64Array; value: number }> {
  let power: Float32Array = covariance.map((each) => each / total);
  for (let squaring = 0; squaring < SQUARINGS; squaring++) {
    power = await multiply(power, new Matrix(power, size, size), pacer);
    let trace = 0;
    for (let i = 0; i < size; i++) trace += power[i * size + i]!;
    if (!(trace > 0)) break;
    power = power.map((each) => each / trace);
  }
  const column = largest(range(0, size), (i) => power[i * size + i]!, 1)[0]!;
  let direction = Float64Array.from(power.subarray(column * size, (column + 1) * size));
  let value = 0;
  for (let step = 0; step < 5; step++) {
    value = Math.sqrt(dot(direction, 0, direction, 0, size));
    direction = direction.map((each) => each / value);
    const next = direction.map((_, row) => dot(covariance, row * size, direction, 0, size));
    value = dot(next, 0, direction, 0, size);
    if (step < 4) direction = next;
  }
  const heaviest = largest(range(0, size), (i) => Math.abs(direction[i]!), 1)[0]!;
  const sign = Math.sign(direction[heaviest]!);
  return { direction: direction.map((each) => sign * each), value };
}
