// Counts over the test rows, made again in the browser from the stored probabilities and labels.

/** The confusion matrix of two classes where the second is predicted from `threshold` on: [label][prediction]. */
export function confusionAt(probability: readonly number[], label: readonly number[], threshold: number): number[][] {
  const counts = [
    [0, 0],
    [0, 0],
  ];
  probability.forEach((value, row) => {
    const prediction = value >= threshold ? 1 : 0;
    const line = counts[label[row] ?? 0];
    if (line) line[prediction] = (line[prediction] ?? 0) + 1;
  });
  return counts;
}

export function rightIn(confusion: readonly (readonly number[])[]): number {
  return confusion.reduce((sum, line, label) => sum + (line[label] ?? 0), 0);
}

export function totalOf(confusion: readonly (readonly number[])[]): number {
  return confusion.reduce((sum, line) => sum + line.reduce((a, b) => a + b, 0), 0);
}

/** Fraction of the rows of a class that are found, and fraction of the predictions of a class that are right. */
export function recallAndPrecision(
  confusion: readonly (readonly number[])[],
  label: number,
): { recall: number | null; precision: number | null } {
  const found = confusion[label]?.[label] ?? 0;
  const rows = (confusion[label] ?? []).reduce((a, b) => a + b, 0);
  const predictions = confusion.reduce((sum, line) => sum + (line[label] ?? 0), 0);
  return { recall: rows ? found / rows : null, precision: predictions ? found / predictions : null };
}

export interface Pair {
  label: number;
  predicted: number;
  count: number;
}

/** The cells beside the diagonal, most frequent first. */
export function confusedPairs(confusion: readonly (readonly number[])[]): Pair[] {
  return confusion
    .flatMap((line, label) => line.map((count, predicted) => ({ label, predicted, count })))
    .filter(({ label, predicted, count }) => label !== predicted && count > 0)
    .sort((a, b) => b.count - a.count || a.label - b.label || a.predicted - b.predicted);
}

/** Wilson's 95 % interval of a fraction; it stays within 0 and 1. */
export function wilson(count: number, n: number): [number, number] {
  if (n <= 0) return [0, 1];
  const z = 1.959963984540054;
  const fraction = count / n;
  const centre = fraction + (z * z) / (2 * n);
  const half = z * Math.sqrt((fraction * (1 - fraction)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return [Math.max(0, (centre - half) / scale), Math.min(1, (centre + half) / scale)];
}
