import type { ComponentChildren } from "preact";

import { drawIntervalPlot, type Gain, intervalPlotHeight, type IntervalPlotProps } from "../charts/intervals.tsx";
import { type Column, Figure, Plot, Table } from "../charts/figure.tsx";
import type { ShownCheck } from "../checks.ts";
import { Fold } from "../fold.tsx";
import { capital, count, counted, duration, instant, NONE, percent, range, significant, size, typeset } from "../format.ts";
import { figureColumns, metricRange, metricTitle, writeMetric } from "../metric.ts";
import { deliveredTest, isSingle, modelValue, ourKinds, shortName } from "../models.ts";
import { quantity } from "../quantities.ts";
import { SyntheticMark } from "../section.tsx";
import type { ComparedModel, Comparison, Hardware, RunTrace, Stage } from "../trace.ts";
import { predictedTokens } from "../training/charts.tsx";
import { Checks, ChecksTable } from "./checks.tsx";

/** The run in one screen: the verdict, the figure that carries it, what went in and out, and whether the checks hold. */
export function RunSection({ trace, checks }: { trace: RunTrace; checks: ShownCheck[] }) {
  const { run } = trace;
  return (
    <section id="run" aria-labelledby="run-title">
      <p class="eyebrow">
        <span>Model pipeline trace</span>
        {run.started && <span>{instant(run.started)}</span>}
        {run.seed !== null && <span>seed {run.seed}</span>}
        {run.status === "running" && <span>not finished</span>}
        {trace.is_redacted && <span>texts left out</span>}
      </p>
      <h1 id="run-title">
        <Headline sentence={typeset(run.headline)} figure={run.headline_figure && typeset(run.headline_figure)} />
      </h1>
      {run.detail && <p class="headline-detail">{typeset(run.detail)}</p>}
      {run.is_synthetic && (
        <div class="print-only">
          <SyntheticMark long />
        </div>
      )}
      <Scores trace={trace} />
      <div class="ledger">
        <Ledger title="What went in" lines={wentIn(trace)} />
        <Ledger title="What came out" lines={cameOut(trace)} />
        <Ledger title="What it took" lines={took(trace)} />
        {checks.length > 0 && <Checks checks={checks} />}
      </div>
      {checks.length > 0 && (
        <Fold name="All checks, with what was measured" id="all-checks">
          <ChecksTable checks={checks} />
        </Fold>
      )}
    </section>
  );
}

function Headline({ sentence, figure }: { sentence: string; figure: string | null }) {
  const at = figure ? sentence.indexOf(figure) : -1;
  if (!figure || at < 0) return <>{sentence}</>;
  return (
    <>
      {sentence.slice(0, at)}
      <em>{figure}</em>
      {sentence.slice(at + figure.length)}
    </>
  );
}

/** What pre-training added to the score that the chart shows; null where there is no control. */
export function gainOf({ metric, models, verdicts }: Comparison): Gain | null {
  const [from, to] = ["scratch", "pretrained"].map((kind) => models.findIndex((model) => model.kind === kind)) as [number, number];
  const [scratch, pretrained] = [models[from], models[to]];
  if (!scratch || !pretrained || to < from) return null;
  // The verdict keeps the digits that the difference of two rounded scores has lost; it may be about another metric.
  const verdict = verdicts.find(
    (each) => each.slice === null && each.metric === metric && each.between.join() === "pretrained,scratch",
  );
  return { from, to, difference: verdict?.difference ?? pretrained.score - scratch.score };
}

function Scores({ trace }: { trace: RunTrace }) {
  const models = trace.comparison?.models ?? [];
  const metric = trace.comparison?.metric ?? "accuracy";
  if (trace.comparison === null || models.length === 0) return null;
  const gain = gainOf(trace.comparison);
  const ours = ourKinds(models);
  const plot: IntervalPlotProps = {
    rows: models.map((model) => ({
      name: model.name,
      shortName: shortName(model.kind, model.name),
      isAccent: ours.includes(model.kind),
    })),
    panels: [{ title: "", values: models.map(modelValue) }],
    metric,
    gain,
  };
  const difference = gain ? `, and the accent line is what pre-training ${gain.difference >= 0 ? "added" : "cost"}` : "";
  return (
    <Figure
      class="headline-figure"
      title={`${capital(metricTitle(metric))} on the test split`}
      sentence={`Dots are ${metric === "accuracy" ? "accuracies" : `values of ${metricTitle(metric)}`} with their 95 % intervals${difference}.`}
      table={<ScoreTable models={models} metric={metric} />}
    >
      <Plot height={intervalPlotHeight(plot)} draw={(width) => drawIntervalPlot(plot, width)} />
    </Figure>
  );
}

function ScoreTable({ models, metric }: { models: ComparedModel[]; metric: string }) {
  return (
    <Table
      caption={`${capital(metricTitle(metric))} of each model on the test split`}
      rows={models}
      columns={[
        { name: "Model", value: (model) => model.name },
        { name: capital(metricTitle(metric)), value: (model) => writeMetric(metric, model.score), isNumber: true },
        { name: "95 % interval", value: (model) => metricRange(metric, model.low, model.high), isNumber: true },
        ...(metric === "accuracy" ? accuracyColumns : figureColumns(models)),
        { name: "Seeds", value: (model) => (isSingle(model) ? NONE : count(Math.max(1, model.seeds.length))), isNumber: true },
        { name: "Test texts", value: (model) => count(model.n), isNumber: true },
      ]}
    />
  );
}

const accuracyColumns: Column<ComparedModel>[] = [
  { name: "Macro-F1", value: (model) => (model.macro_f1 === null ? "–" : percent(model.macro_f1)), isNumber: true },
  { name: "Brier score", value: (model) => (model.brier_score === null ? "–" : significant(model.brier_score)), isNumber: true },
];

interface LedgerLine {
  name: ComponentChildren;
  value: string | null;
  small?: string | null;
}

function Ledger({ title, lines }: { title: string; lines: LedgerLine[] }) {
  const known = lines.filter((line) => line.value !== null);
  if (known.length === 0) return null;
  return (
    <div>
      <h2>{title}</h2>
      <dl>
        {known.map((line) => (
          <div>
            <dt>
              {line.name}
              {line.small && <small>{line.small}</small>}
            </dt>
            <dd>{line.value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

const maybe = (value: number | null | undefined, write: (value: number) => string) => (value == null ? null : write(value));

function stage(trace: RunTrace, name: string): Stage | undefined {
  return trace.stages.find((candidate) => candidate.name === name);
}

function wentIn(trace: RunTrace): LedgerLine[] {
  const [collect, split] = [stage(trace, "collect"), stage(trace, "split")];
  return [
    { name: "Documents", value: maybe(quantity(collect, "out", "documents"), count) },
    { name: "Characters", value: maybe(quantity(collect, "out", "characters"), count) },
    { name: "Labelled texts", value: maybe(quantity(split, "in", "labelled rows"), count) },
    { name: "Test texts", value: maybe(quantity(split, "out", "test rows"), count), small: "kept apart from training" },
  ];
}

/** What the run made, and how well that does: the model as delivered, with linear models if they are stacked on it. */
export function cameOut(trace: Pick<RunTrace, "phases" | "tokenizer" | "comparison">): LedgerLine[] {
  const { pretrain, finetune } = trace.phases;
  const last = pretrain?.evaluations.at(-1);
  const stack = trace.comparison?.models.find(({ kind }) => kind === "stack");
  const test = stack ?? deliveredTest(finetune);
  const metric = (stack && trace.comparison?.metric) ?? finetune?.metric ?? "accuracy";
  return [
    { name: "Tokenizer, tokens", value: maybe(trace.tokenizer?.vocab_size, count) },
    { name: "Model, parameters", value: maybe((pretrain ?? finetune)?.parameters, count) },
    {
      name: pretrain && `${capital(predictedTokens(pretrain))} found`,
      value: maybe(last?.score, percent),
      small: last?.score_low != null && last.score_high != null && !test ? range(last.score_low, last.score_high) : null,
    },
    {
      name: `Test ${metricTitle(metric)}`,
      value: maybe(test?.score, (value) => writeMetric(metric, value)),
      small: test && metricRange(metric, test.low, test.high),
    },
  ];
}

/** The threads of a CPU or the kind of device, and how many processes trained together. */
export function howComputed({ threads, device, processes }: Pick<Hardware, "threads" | "device" | "processes">): string {
  const own = threads === null ? device : counted(threads, "thread");
  if (processes === null || processes < 2) return own;
  return `${own} in ${threads === null ? "" : "each of "}${counted(processes, "process", "processes")}`;
}

function took(trace: RunTrace): LedgerLine[] {
  const { hardware, seconds, peak_memory_bytes } = trace.run;
  const parts = hardware ? [howComputed(hardware), hardware.precision].filter((part) => part) : [];
  return [
    { name: "Time, all stages", value: maybe(seconds, duration) },
    { name: "Memory, at most", value: maybe(peak_memory_bytes, size) },
    { name: hardware?.chip ?? "", value: parts.length > 0 ? parts.join(", ") : null },
    {
      name: "Texts in this page",
      value: trace.is_redacted ? "none" : count(trace.excerpts),
      small: trace.is_redacted ? "left out on demand" : "--redact leaves them out",
    },
  ];
}
