import { capital, fixed, percent, range } from "./format.ts";

// The main metric of a task, and how its values are written: accuracy in percent, the others as they are.

const TITLES: Record<string, string> = {
  accuracy: "accuracy",
  macro_f1: "macro-F1",
  micro_f1: "micro-F1",
  entity_f1: "entity F1",
  pearson: "Pearson correlation",
  precision: "precision",
  recall: "recall",
  micro_precision: "precision",
  micro_recall: "recall",
  subset_accuracy: "all labels right",
  mean_average_precision: "mean average precision",
  spearman: "Spearman correlation",
  mean_absolute_error: "mean absolute error",
  root_mean_squared_error: "root mean squared error",
  r2: "R²",
};

export function metricTitle(metric: string): string {
  return TITLES[metric] ?? metric.replaceAll("_", " ");
}

function isPercent(metric: string): boolean {
  return metric.endsWith("accuracy");
}

export function writeMetric(metric: string, value: number): string {
  return isPercent(metric) ? percent(value) : fixed(value, 3);
}

/** The ends of an interval. */
export function metricRange(metric: string, low: number, high: number): string {
  return isPercent(metric) ? range(low, high) : `${fixed(low, 3)} to ${fixed(high, 3)}`;
}

/** Half of an interval: ±1.2, ±0.021. */
export function metricNoise(metric: string, value: number): string {
  return `±${isPercent(metric) ? fixed(100 * value, 1) : fixed(value, 3)}`;
}

/** What a difference in hundredths is called. */
export function pointsOf(metric: string): string {
  return metric === "accuracy" ? "points" : `points of ${metricTitle(metric)}`;
}

/** The other figures of some models, as the columns of a table. */
export function figureColumns<Row extends { figures: Record<string, number> }>(rows: readonly Row[]) {
  return Object.keys(rows[0]?.figures ?? {}).map((name) => ({
    name: capital(metricTitle(name)),
    value: (row: Row) => (row.figures[name] === undefined ? "–" : writeMetric(name, row.figures[name])),
    isNumber: true,
  }));
}
