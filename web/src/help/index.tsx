import { Figure, Plot, Table } from "../charts/figure.tsx";
import { drawIntervalPlot, drawnGuess, intervalPlotHeight, type IntervalPlotProps, type IntervalValue } from "../charts/intervals.tsx";
import { capital, count, counted, fixed, points, pointsRange, THIN_SPACE, typeset } from "../format.ts";
import { figureColumns, metricRange, metricTitle, pointsOf, writeMetric } from "../metric.ts";
import { isDelivered, isSingle, modelValue, numClasses, ourKinds, shortName } from "../models.ts";
import { Lead, NothingYet } from "../section.tsx";
import { isolated, LEFT_OUT, UserText } from "../text.tsx";
import type { ComparedModel, Comparison, RunTrace, SliceResult, Verdict } from "../trace.ts";
import { Disagreements } from "./disagreements.tsx";
import { Strategies } from "./strategies.tsx";
import { Verdicts } from "./verdicts.tsx";

/** Whether pre-training helped: every model on the same test texts, by slice, with verdicts that may be "no difference". */
export function Help({ trace }: { trace: RunTrace }) {
  const { comparison } = trace;
  if (trace.strategies) return <Strategies found={trace.strategies} />;
  if (comparison === null) return <NothingYet section="help" trace={trace} sentence="No models have been compared yet." />;
  return (
    <>
      <Lead>{summary(comparison)}</Lead>
      {comparison.models.length > 0 && <Panels comparison={comparison} trace={trace} />}
      {comparison.verdicts.length > 0 && <Verdicts comparison={comparison} />}
      {comparison.disagreements.length > 0 && <Disagreements comparison={comparison} />}
    </>
  );
}

/** Whether pre-training helped, in some sentences. */
export function summary(comparison: Comparison): string {
  const control = comparison.verdicts.filter((verdict) => verdict.between.includes("scratch"));
  const [overall] = control.filter((verdict) => verdict.slice === null);
  const found = overall ?? comparison.verdicts[0];
  if (!found) return "These models answered the same test texts; no pair of them was compared.";
  if (!found.between.includes("scratch")) return `That was not measured.${sentenceOf(found)}`;
  const delivered = comparison.verdicts.find((verdict) => isDelivered(verdict.between[0]) && verdict.slice === null);
  const answer = { better: "Yes", worse: "No", "no clear difference": "It cannot be told" }[found.outcome];
  const interval = `95${THIN_SPACE}% interval ${pointsRange(found.low, found.high)}`;
  const slices = control.filter((verdict) => verdict.slice !== null);
  const by = slices.length > 1 && slices.length < 5 ? ` By slice: ${slices.map(inSlice).join(", ")}.` : "";
  return `${answer}: ${points(found.difference)} ${pointsOf(found.metric)} ${found.outcome === "better" ? "over" : "against"} the same network from scratch (${interval}).${exactTest(found)}${by}${delivered ? sentenceOf(delivered) : ""}`;
}

/** A sentence if it is the p-value, and not the interval, that leaves a difference unclear. */
function exactTest({ outcome, low, high, p_value }: Verdict): string {
  if (outcome !== "no clear difference" || p_value === null || (low <= 0 && high >= 0)) return "";
  return ` An exact test gives p = ${fixed(p_value, 3)}.`;
}

/** The sentence of a verdict, behind another one; nothing where the texts were left out. */
function sentenceOf({ sentence }: Verdict): string {
  return sentence === LEFT_OUT ? "" : ` ${typeset(sentence)}`;
}

function inSlice(verdict: Verdict): string {
  const unclear = verdict.outcome === "no clear difference" ? ", no clear difference" : "";
  return `${points(verdict.difference)} on ‘${isolated(verdict.slice ?? "")}’${unclear}`;
}

const SHOWN_SLICES = 5;

function Panels({ comparison, trace }: { comparison: Comparison; trace: RunTrace }) {
  const { models } = comparison;
  const slices = largestSlices(models);
  const hidden = allSlices(models).size - slices.length;
  const k = numClasses(trace);
  const n = models[0]?.n ?? 0;
  const ours = ourKinds(models);
  const plot: IntervalPlotProps = {
    rows: models.map((model) => ({ name: model.name, shortName: shortName(model.kind, model.name), isAccent: ours.includes(model.kind) })),
    panels: [
      { title: `all ${count(n)} test ${comparison.metric === "entity_f1" ? "rows" : "texts"}`, values: models.map(modelValue) },
      ...slices.map(({ name, n: rows }) => ({
        title: `${isolated(name, 18)}, n = ${count(rows)}`,
        values: models.map((model) => sliceValue(model, name)),
      })),
    ],
    metric: comparison.metric,
    guess: k === null || k < 2 ? null : 1 / k,
  };
  const seeds = Math.max(1, ...models.map((model) => model.seeds.length));
  const sentence = [
    seeds > 1 ? `Of a trained network, each dot is one of ${counted(seeds, "seed")}, the short line their mean` : "Each dot is the one seed of this run",
    "the bar is the 95 % interval",
    drawnGuess(plot) === null ? null : `the dotted line is guessing among ${count(k as number)} classes`,
  ].filter((part) => part !== null);
  return (
    <Figure
      title={`${capital(metricTitle(comparison.metric))} of ${counted(models.length, "model")}${slices.length > 0 ? ", overall and by slice" : ""}`}
      sentence={`${sentence.slice(0, -1).join(", ")} and ${sentence.at(-1)}.${hidden > 0 ? ` The ${slices.length} largest of ${slices.length + hidden} slices are drawn.` : ""}`}
      table={<PanelTable models={models} metric={comparison.metric} />}
    >
      <Plot height={intervalPlotHeight(plot)} draw={(width) => drawIntervalPlot(plot, width)} />
    </Figure>
  );
}

function allSlices(models: ComparedModel[]): Map<string, SliceResult> {
  return new Map(models.flatMap((model) => model.slices.map((slice) => [slice.name, slice] as const)));
}

function largestSlices(models: ComparedModel[]): SliceResult[] {
  const all = [...allSlices(models).values()];
  return all.length <= SHOWN_SLICES ? all : all.sort((a, b) => b.n - a.n).slice(0, SHOWN_SLICES);
}

function sliceValue(model: ComparedModel, name: string): IntervalValue | null {
  const slice = model.slices.find((candidate) => candidate.name === name);
  // The seeds of a slice are not in the document, only their mean.
  return slice ? { value: slice.score, low: slice.low, high: slice.high, seeds: [slice.score] } : null;
}

interface PanelRow {
  model: string;
  slice: string | null;
  n: number;
  value: IntervalValue;
  figures: Record<string, number>;
}

function PanelTable({ models, metric }: { models: ComparedModel[]; metric: string }) {
  const rows: PanelRow[] = models.flatMap((model) => [
    { model: model.name, slice: null, n: model.n, value: isSingle(model) ? { ...modelValue(model), seeds: [] } : modelValue(model), figures: model.figures },
    ...model.slices.map((slice) => ({ model: model.name, slice: slice.name, n: slice.n, value: { ...slice, value: slice.score, seeds: [] }, figures: {} })),
  ]);
  return (
    <Table
      caption={`${capital(metricTitle(metric))} of each model, by slice`}
      rows={rows}
      columns={[
        { name: "Model", value: (row) => row.model },
        { name: "Test texts", value: (row) => (row.slice === null ? "all" : <UserText text={row.slice} limit={60} />) },
        { name: "n", value: (row) => count(row.n), isNumber: true },
        { name: capital(metricTitle(metric)), value: (row) => writeMetric(metric, row.value.value), isNumber: true },
        { name: "95 % interval", value: (row) => metricRange(metric, row.value.low, row.value.high), isNumber: true },
        ...figureColumns(rows),
        { name: "By seed", value: (row) => row.value.seeds.map((seed) => writeMetric(metric, seed)).join(", "), isNumber: true },
      ]}
    />
  );
}
