// The confusion matrix as a table of buttons that open texts. Many classes become a list of pairs.
import { useId, useMemo, useState } from "preact/hooks";

import { Fold } from "../fold.tsx";
import { count, percent } from "../format.ts";
import { Holds } from "../prediction/stop.tsx";
import { isolated, UserText } from "../text.tsx";
import type { TestErrors, TestRow } from "../trace.ts";
import { confusedPairs, confusionAt, recallAndPrecision, rightIn, totalOf, type Pair } from "./counts.ts";
import { RowList } from "./mistakes.tsx";
import { rate } from "./rates.ts";

/** More classes than this are listed as pairs, and the matrix is folded. */
const MATRIX_LIMIT = 12;
/** Up to so many classes, a cell has room for its fraction of the row, and a column for its name. */
const FRACTION_LIMIT = 4;
/** From so many classes on, the matrix needs the whole width. */
const WIDE_FROM = 7;
const PAIRS_SHOWN = 12;

interface Cell {
  label: number;
  predicted: number;
}

export function ConfusionFigure({ errors, isRedacted }: { errors: TestErrors; isRedacted: boolean }) {
  const [threshold, setThreshold] = useState(0.5);
  const hasThreshold = errors.labels.length === 2 && errors.positive_probability.length > 0;
  const confusion = useMemo(
    () => (hasThreshold && threshold !== 0.5 ? confusionAt(errors.positive_probability, errors.label, threshold) : errors.confusion),
    [errors, hasThreshold, threshold],
  );
  const [chosen, setChosen] = useState<Cell>(() => firstCell(errors));
  const isLarge = errors.labels.length > MATRIX_LIMIT;
  const props = { errors, confusion, chosen, onChoose: setChosen };
  return (
    <div class={!isLarge && errors.labels.length > WIDE_FROM ? "g2 confusion is-wide" : "g2 confusion"}>
      <figure>
        <figcaption>
          <b>{isLarge ? "Most confused pairs" : "Confusion matrix"}</b>
          <span>{captionOf(errors.labels.length)}</span>
        </figcaption>
        {isLarge ? (
          <PairList {...props} />
        ) : (
          <Matrix {...props} />
        )}
        {hasThreshold && (
          <ThresholdSlider errors={errors} confusion={confusion} threshold={threshold} onChange={setThreshold} />
        )}
      </figure>
      <CellTexts errors={errors} confusion={confusion} chosen={chosen} threshold={threshold} isRedacted={isRedacted} />
      {isLarge && (
        <div class="all-classes">
          <Fold name={`Matrix of all ${count(errors.labels.length)} classes`}>
            <FullMatrix errors={errors} />
          </Fold>
        </div>
      )}
    </div>
  );
}

function captionOf(classes: number): string {
  if (classes > MATRIX_LIMIT) return "Choose a pair to read texts of it.";
  const sentence = "Choose a cell to read texts from it.";
  return classes > FRACTION_LIMIT ? `Rows are labels, columns are predictions in the same order. ${sentence}` : sentence;
}

/** The mistake made most often of which there are texts; without mistakes the first class. */
function firstCell(errors: TestErrors): Cell {
  const pairs = confusedPairs(errors.confusion);
  return pairs.find((pair) => rowsOf(errors, pair, 0.5).length > 0) ?? pairs[0] ?? { label: 0, predicted: 0 };
}

interface MatrixProps {
  errors: TestErrors;
  confusion: number[][];
  chosen: Cell;
  onChoose: (cell: Cell) => void;
}

function Matrix({ errors, confusion, chosen, onChoose }: MatrixProps) {
  const { labels } = errors;
  const isSmall = labels.length <= FRACTION_LIMIT;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Confusion matrix">
      <table class={isSmall ? "matrix" : "matrix is-dense"}>
        <caption class="unseen">Test texts by label, in rows, and prediction, in columns</caption>
        <thead>
          <tr>
            <td />
            {labels.map((name, index) => (
              <th scope="col" key={index}>
                {isSmall ? (
                  <>
                    <small>predicted</small>
                    <UserText text={name} limit={24} />
                  </>
                ) : (
                  <NumberedName number={index + 1} name={name} />
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {labels.map((name, label) => (
            <tr key={label}>
              <th scope="row">
                {isSmall ? <small>label</small> : `${label + 1} `}
                <UserText text={name} limit={isSmall ? 24 : 40} />
              </th>
              {labels.map((_, predicted) => (
                <td key={predicted}>
                  <CellButton
                    count={confusion[label]?.[predicted] ?? 0}
                    row={sum(confusion[label] ?? [])}
                    isRight={label === predicted}
                    isChosen={chosen.label === label && chosen.predicted === predicted}
                    name={cellName(labels, { label, predicted })}
                    hasFraction={isSmall}
                    onChoose={() => onChoose({ label, predicted })}
                  />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function CellButton(props: {
  count: number;
  row: number;
  isRight: boolean;
  isChosen: boolean;
  name: string;
  hasFraction: boolean;
  onChoose: () => void;
}) {
  return (
    <button
      type="button"
      class={props.isRight ? "cell is-right" : "cell"}
      aria-pressed={props.isChosen}
      onClick={props.onChoose}
    >
      <b>{count(props.count)}</b>
      {props.hasFraction && <small>{props.row === 0 ? "no rows" : `${rate(props.count / props.row)} of the row`}</small>}
      <span class="unseen">, {props.name}</span>
    </button>
  );
}

function cellName(labels: readonly string[], { label, predicted }: Cell): string {
  const name = isolated(labels[label] ?? "");
  return label === predicted ? `${name}, predicted as such` : `${name} predicted as ${isolated(labels[predicted] ?? "")}`;
}

function PairList({ errors, confusion, chosen, onChoose }: MatrixProps) {
  const pairs = confusedPairs(confusion);
  if (pairs.length === 0) return <p class="note">No class is mistaken for another.</p>;
  return (
    <>
      <ol class="pair-list">
        {pairs.slice(0, PAIRS_SHOWN).map((pair) => (
          <li key={`${pair.label} ${pair.predicted}`}>
            <button
              type="button"
              class="pair"
              aria-pressed={pair.label === chosen.label && pair.predicted === chosen.predicted}
              onClick={() => onChoose(pair)}
            >
              <span>
                <UserText text={errors.labels[pair.label] ?? ""} limit={60} /> <i>predicted as</i>{" "}
                <UserText text={errors.labels[pair.predicted] ?? ""} limit={60} />
              </span>
              <span class="pair-count">
                {count(pair.count)} of {count(sum(confusion[pair.label] ?? []))}
              </span>
            </button>
          </li>
        ))}
      </ol>
      {pairs.length > PAIRS_SHOWN && <p class="note">{restOfPairs(pairs)}</p>}
    </>
  );
}

function restOfPairs(pairs: Pair[]): string {
  const rest = pairs.slice(PAIRS_SHOWN);
  return `Another ${count(rest.length)} pairs make ${count(sum(rest.map((pair) => pair.count)))} mistakes; they are in the matrix.`;
}

/** A column of a large matrix has the number of its class; its name is for screen readers. */
function NumberedName({ number, name }: { number: number; name: string }) {
  return (
    <>
      <span aria-hidden="true">{number}</span>
      <span class="unseen">{name.slice(0, 60)}</span>
    </>
  );
}

function FullMatrix({ errors }: { errors: TestErrors }) {
  const { labels, confusion } = errors;
  return (
    <>
      <p class="note">Rows are labels, columns are predictions, in the order of the list of classes. Empty cells hold no row.</p>
      <div class="scroll full-matrix" tabIndex={0} role="region" aria-label="Confusion matrix of all classes">
        <table class="small">
          <caption class="unseen">Test texts by label, in rows, and prediction, in columns</caption>
          <thead>
            <tr>
              <th scope="col">Label</th>
              {labels.map((name, index) => (
                <th scope="col" class="number" key={index}>
                  <NumberedName number={index + 1} name={name} />
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {labels.map((name, label) => (
              <tr key={label}>
                <th scope="row">
                  {label + 1} <UserText text={name} limit={40} />
                </th>
                {labels.map((_, predicted) => {
                  const value = confusion[label]?.[predicted] ?? 0;
                  return (
                    <td class={label === predicted ? "number is-right" : "number"} key={predicted}>
                      {value === 0 ? "" : count(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function ThresholdSlider(props: {
  errors: TestErrors;
  confusion: number[][];
  threshold: number;
  onChange: (threshold: number) => void;
}) {
  const { errors, confusion, threshold } = props;
  const id = useId();
  const name = errors.labels[1] ?? "";
  const { recall, precision } = recallAndPrecision(confusion, 1);
  const written = percent(threshold, 0);
  const again = useMemo(() => confusionAt(errors.positive_probability, errors.label, 0.5), [errors]);
  const isSame = JSON.stringify(again) === JSON.stringify(errors.confusion);
  return (
    <div class="threshold-choice">
      <label for={id}>
        Call it “
        <UserText text={name} limit={40} />” from a probability of <b>{written}</b> on
      </label>
      <input
        id={id}
        type="range"
        min={1}
        max={99}
        step={1}
        value={Math.round(100 * threshold)}
        aria-valuetext={written}
        onInput={(event) => props.onChange(Number(event.currentTarget.value) / 100)}
      />
      <p class="reading" aria-live="polite">
        Accuracy {rate(rightIn(confusion) / Math.max(1, totalOf(confusion)))}
        {recall !== null && (
          <>
            , recall of “<UserText text={name} limit={40} />” {percent(recall)}
          </>
        )}
        {precision !== null && `, precision ${percent(precision)}`}.
      </p>
      <Holds isOk={isSame}>
        the matrix, counted again in this browser from {count(errors.positive_probability.length)} probabilities
      </Holds>
    </div>
  );
}

function CellTexts(props: {
  errors: TestErrors;
  confusion: number[][];
  chosen: Cell;
  threshold: number;
  isRedacted: boolean;
}) {
  const { errors, confusion, chosen, threshold } = props;
  const rows = rowsOf(errors, chosen, threshold);
  const total = confusion[chosen.label]?.[chosen.predicted] ?? 0;
  return (
    <div class="cell-texts">
      <h3 class="small-title" aria-live="polite">
        {count(total)} labelled “<UserText text={errors.labels[chosen.label] ?? ""} limit={60} />
        ”, predicted “<UserText text={errors.labels[chosen.predicted] ?? ""} limit={60} />
        ”{rows.length > 0 && total > rows.length ? `; ${count(rows.length)} of them here` : ""}
      </h3>
      {rows.length === 0 ? (
        <p class="note">{total === 0 ? "There is no such row." : "The page has no text of this cell."}</p>
      ) : (
        <RowList rows={rows} errors={errors} isRedacted={props.isRedacted} />
      )}
    </div>
  );
}

/** The stored rows of a cell; with two classes by the threshold that is set. */
function rowsOf(errors: TestErrors, { label, predicted }: Cell, threshold: number): TestRow[] {
  return errors.examples.filter((row) => row.label === label && predictionOf(row, errors, threshold) === predicted);
}

function predictionOf(row: TestRow, errors: TestErrors, threshold: number): number {
  if (errors.labels.length !== 2 || threshold === 0.5) return row.predicted;
  const positive = row.predicted === 1 ? row.probability : 1 - row.probability;
  return positive >= threshold ? 1 : 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
