// Errors of tasks beyond one class for a text: several labels, a number, entities.
import type { ComponentChildren } from "preact";

import { extent } from "../charts/extent.ts";
import { Figure, Plot, Table } from "../charts/figure.tsx";
import { scaleLinear } from "../charts/scale.ts";
import { behindLabels, tickWriter } from "../charts/ticks.ts";
import { Fold } from "../fold.tsx";
import { count, counted, fixed, percent, significant } from "../format.ts";
import { Lead } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { Entity, EntityErrors, LabelFigures, LabelSetErrors, ScoreErrors, TestErrors } from "../trace.ts";
import { Marked } from "./marked.tsx";

const SHOWN = 5;
const TEXT_LIMIT = 320;
const LABELS_SHOWN = 30;

interface Shown<E> {
  found: E;
  errors: TestErrors;
  /** of which model they are, as a sentence after a blank, where it is not the one that predicts; else empty */
  alone: string;
  isRedacted: boolean;
}

export function LabelSets({ found, errors, alone, isRedacted }: Shown<LabelSetErrors>) {
  const names = errors.labels;
  const worst = [...found.labels].filter(({ support }) => support > 0).sort((a, b) => a.f1 - b.f1)[0];
  return (
    <div class="errors">
      <Lead>
        {count(found.exact)} of {counted(errors.n, "test text")} {found.exact === 1 ? "has" : "have"} all labels right;
        the micro-F1 over all labels is {fixed(found.micro_f1, 3)}.{alone}
      </Lead>
      <div class="g2 errors-more">
        <LabelTable
          title="Label by label"
          sentence={worst && <>The label that is found worst is “<UserText text={worst.label} limit={40} />”. A label is predicted where its probability reaches its threshold, which validation chose.</>}
          figures={found.labels}
        />
        <div>
          <h3 class="small-title">One label in place of another</h3>
          <p class="note">Texts in which the first label is missed, and the second is predicted and not there.</p>
          {found.confusions.length === 0 && <p class="note">There is no such text.</p>}
          <ol class="pair-list">
            {found.confusions.slice(0, 10).map((pair) => (
              <li>
                <span class="pair is-plain">
                  <span>
                    <UserText text={names[pair.missed] ?? ""} limit={40} /> <i>replaced by</i>{" "}
                    <UserText text={names[pair.invented] ?? ""} limit={40} />
                  </span>
                  <span class="pair-count">{counted(pair.count, "text")}</span>
                </span>
              </li>
            ))}
          </ol>
        </div>
      </div>
      <Examples
        title="Texts with the most wrong labels"
        rows={found.examples.map((row) => ({ ...row, said: <LabelsOf row={row} names={names} /> }))}
        isRedacted={isRedacted}
      />
    </div>
  );
}

function LabelsOf({ row, names }: { row: { label: number[]; predicted: number[] }; names: string[] }) {
  const said = (places: number[]) =>
    places.length === 0 ? "none" : places.map((place, index) => <>{index > 0 && ", "}<UserText text={names[place] ?? ""} limit={40} /></>);
  const missed = row.label.filter((place) => !row.predicted.includes(place));
  const invented = row.predicted.filter((place) => !row.label.includes(place));
  return (
    <>
      labels: {said(row.label)}; predicted: {said(row.predicted)}
      {missed.length > 0 && <>; missed: {said(missed)}</>}
      {invented.length > 0 && <>; too many: {said(invented)}</>}
    </>
  );
}

function LabelTable(props: { title: string; sentence?: ComponentChildren; figures: LabelFigures[] }) {
  const sorted = [...props.figures].sort((a, b) => b.support - a.support);
  const hasThresholds = sorted.some(({ threshold }) => threshold !== null);
  const table = (rows: LabelFigures[]) => (
    <Table
      caption={props.title}
      rows={rows}
      columns={[
        { name: "Label", value: (row) => <UserText text={row.label} limit={40} /> },
        { name: "There", value: (row) => count(row.support), isNumber: true },
        { name: "Precision", value: (row) => percent(row.precision), isNumber: true },
        { name: "Recall", value: (row) => percent(row.recall), isNumber: true },
        { name: "F1", value: (row) => fixed(row.f1, 3), isNumber: true },
        ...(hasThresholds
          ? [{ name: "Threshold", value: (row: LabelFigures) => (row.threshold === null ? "–" : percent(row.threshold)), isNumber: true }]
          : []),
      ]}
    />
  );
  return (
    <div>
      <h3 class="small-title">{props.title}</h3>
      {props.sentence && <p class="note">{props.sentence}</p>}
      {table(sorted.slice(0, LABELS_SHOWN))}
      {sorted.length > LABELS_SHOWN && <Fold name={`${count(sorted.length - LABELS_SHOWN)} more`}>{table(sorted.slice(LABELS_SHOWN))}</Fold>}
    </div>
  );
}

interface Example {
  row: number;
  text: string;
  text_pair?: string | null;
  slice: string | null;
  said: ComponentChildren;
  marked?: ComponentChildren;
}

function Examples({ title, rows, isRedacted }: { title: string; rows: Example[]; isRedacted: boolean }) {
  const list = (shown: Example[]) => (
    <ol class="test-rows">
      {shown.map((row) => (
        <li key={row.row}>
          {isRedacted ? (
            <p class="is-redacted">The text is left out of this file.</p>
          ) : (
            <div>{row.marked ?? [row.text, row.text_pair].map((text) => text != null && <p><UserText text={text} limit={TEXT_LIMIT} /></p>)}</div>
          )}
          <small>
            row {count(row.row)}
            {row.slice !== null && <>, slice “<UserText text={row.slice} limit={40} />”</>}; {row.said}
          </small>
        </li>
      ))}
    </ol>
  );
  return (
    <div class="wide-examples">
      <h3 class="small-title">{title}</h3>
      {rows.length === 0 && <p class="note">The page has no such text.</p>}
      {list(rows.slice(0, SHOWN))}
      {rows.length > SHOWN && <Fold name={`${count(rows.length - SHOWN)} more`}>{list(rows.slice(SHOWN))}</Fold>}
    </div>
  );
}

// ---- numbers

const SCATTER = { height: 320, left: 46, bottom: 46, top: 12 };

export function Scores({ found, errors, alone, isRedacted }: Shown<ScoreErrors>) {
  const [low = 0, , middle = 0, , high = 0] = found.quantiles;
  return (
    <div class="errors">
      <Lead>
        A prediction is {significant(found.mean_absolute_error)} off on average, where always predicting the mean of the test rows is{" "}
        {significant(found.baseline_error)} off; predicted and true numbers correlate with {fixed(found.pearson, 3)}.{alone}
      </Lead>
      <div class="g2 errors-more">
        <Figure
          title="Predicted against true"
          sentence={`Each dot is one of ${counted(errors.n, "test text")}${found.label.length < errors.n ? `, of which ${count(found.label.length)} are drawn` : ""}; on the line, both are equal.`}
        >
          <Plot
            height={SCATTER.height}
            label={`Predicted against true numbers: Pearson ${fixed(found.pearson, 3)}, Spearman ${fixed(found.spearman, 3)}.`}
            draw={(width) => <Scatter found={found} width={width} />}
          />
        </Figure>
        <Figure
          title="How far predictions are off"
          sentence={`Predicted minus true: half of the texts lie above ${significant(middle)}, and nine in ten between ${significant(low)} and ${significant(high)}.`}
        >
          <Plot height={220} label="Counts of texts by predicted minus true." draw={(width) => <Residuals found={found} width={width} />} />
        </Figure>
      </div>
      <Examples
        title="Largest errors"
        rows={found.examples.map((row) => ({
          ...row,
          said: `predicted ${significant(row.predicted)}, true ${significant(row.label)}, off by ${significant(row.predicted - row.label)}`,
        }))}
        isRedacted={isRedacted}
      />
    </div>
  );
}

function Scatter({ found, width }: { found: ScoreErrors; width: number }) {
  const [low = 0, high = 1] = extent([...found.label, ...found.predicted]);
  const y = scaleLinear([low, high], [SCATTER.height - SCATTER.bottom, SCATTER.top]).nice(5);
  const ticks = y.ticks(5); // of both axes
  const write = tickWriter(ticks);
  const left = behindLabels(ticks, write, SCATTER.left);
  const x = scaleLinear(y.domain(), [left, width - 8]);
  const floor = SCATTER.height - SCATTER.bottom;
  const [start, end] = x.domain();
  const dots = found.label.map((label, index) => `M${x(label).toFixed(1)} ${y(found.predicted[index] ?? 0).toFixed(1)}h0`).join("");
  return (
    <>
      {ticks.map((tick) => (
        <g>
          <line class="grid" x1={left} x2={width} y1={y(tick)} y2={y(tick)} />
          <text x={left - 8} y={y(tick) + 4} text-anchor="end">{write(tick)}</text>
        </g>
      ))}
      {ticks.map((tick) => (
        <text x={x(tick)} y={floor + 17} text-anchor="middle">{write(tick)}</text>
      ))}
      <line class="level" x1={x(start)} y1={y(start)} x2={x(end)} y2={y(end)} />
      <path class="scatter-dots" d={dots} />
      <text x={width} y={floor + 36} text-anchor="end">true</text>
      <text x={0} y={SCATTER.height - 10}>predicted, from below</text>
    </>
  );
}

function Residuals({ found, width }: { found: ScoreErrors; width: number }) {
  const errors = found.label.map((label, index) => (found.predicted[index] ?? 0) - label);
  const largest = Math.max(...errors.map(Math.abs), 1e-9);
  const bins = 21;
  const counts = new Array<number>(bins).fill(0);
  for (const error of errors) {
    const place = Math.min(bins - 1, Math.floor(((error + largest) / (2 * largest)) * bins));
    counts[place] = (counts[place] ?? 0) + 1;
  }
  const x = scaleLinear([-largest, largest], [8, width - 8]);
  const y = scaleLinear([0, Math.max(...counts, 1)], [180, 12]);
  const step = (width - 16) / bins;
  const ticks = x.ticks(5);
  const write = tickWriter(ticks);
  return (
    <>
      {counts.map((value, index) => (
        <rect class="bar" x={8 + index * step} width={Math.max(1, step - 2)} y={y(value)} height={180 - y(value)} />
      ))}
      <line class="axis" x1={8} x2={width - 8} y1={180} y2={180} />
      <line class="level" x1={x(0)} x2={x(0)} y1={8} y2={180} />
      {ticks.map((tick) => (
        <text x={x(tick)} y={198} text-anchor="middle">{write(tick)}</text>
      ))}
      <text x={width} y={214} text-anchor="end">predicted minus true</text>
    </>
  );
}

// ---- entities

/** What is left to say of a row whose text, and so its marks, are left out. */
export function entityCounts({ label, predicted }: Pick<EntityErrors["examples"][number], "label" | "predicted">): string {
  return `labelled entities: ${count(label.length)}; predicted: ${count(predicted.length)}`;
}

export function Entities({ found, errors, alone, isRedacted }: Shown<EntityErrors>) {
  const kinds: [string, number, string][] = [
    ["right", found.right, "type and both borders as labelled"],
    ["wrong type", found.wrong_type, "the borders are right"],
    ["wrong borders", found.wrong_borders, "the type is right, and the two overlap"],
    ["wrong type and borders", found.wrong_type_and_borders, "the two overlap"],
    ["missed", found.missed, "nothing is predicted there"],
    ["invented", found.invented, "nothing is labelled there"],
  ];
  return (
    <div class="errors">
      <Lead>
        An entity counts as found only with its type and both borders: {count(found.right)} are, which makes an F1 of{" "}
        {fixed(found.entity_f1, 3)} on {counted(errors.n, "test row")}.{alone}
      </Lead>
      <div class="g2 errors-more">
        <LabelTable title="Type by type" figures={found.types} />
        <div>
          <h3 class="small-title">Kinds of errors</h3>
          <Table
            caption="What became of the entities"
            rows={kinds}
            columns={[
              { name: "Entities", value: ([name]) => name },
              { name: "Count", value: ([, value]) => count(value), isNumber: true },
              { name: "Meaning", value: ([, , meaning]) => meaning },
            ]}
          />
        </div>
      </div>
      <Examples
        title="Texts with the most errors"
        rows={found.examples.map((row) => ({
          ...row,
          said: isRedacted ? entityCounts(row) : "above: as labelled; below: as predicted",
          marked: [row.label, row.predicted].map((entities: Entity[]) => <p><Marked text={row.text} entities={entities} limit={TEXT_LIMIT} /></p>),
        }))}
        isRedacted={isRedacted}
      />
    </div>
  );
}
