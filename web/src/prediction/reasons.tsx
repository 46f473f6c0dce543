// Which words the score rests on, by two methods that must agree before anything is read from them.
import { max, min } from "../charts/extent.ts";
import { scaleLinear } from "../charts/scale.ts";
import { behindLabels, tickWriter } from "../charts/ticks.ts";

import { Figure, Plot, Table, textWidth } from "../charts/figure.tsx";
import { count, counted, fixed, significant } from "../format.ts";
import { UserText } from "../text.tsx";
import type { PredictionTrace, Reasons } from "../trace.ts";
import { addedWriter, plainWidth, wordName, wordWithin } from "./figures.ts";

/** Below this rank correlation the two methods are said to disagree. */
const AGREEMENT = 0.5;
const WORDS_SHOWN = 10;

/** Why a prediction has no reasons, as a sentence. */
export function whyNone({ task, label_names, tokens }: PredictionTrace): string {
  if (task === "classification" && label_names.length < 2) return "The model has a single class, so there is no other label to compare with.";
  return tokens.every((token) => token.is_special)
    ? "The text has no word that could be masked alone, so there is nothing to compare."
    : "The text is too long for its reasons to be computed here.";
}

/** `isPending`: the reasons of this prediction are still being computed. */
export function ReasonsPart({ prediction, isPending }: { prediction: PredictionTrace; isPending: boolean }) {
  const { reasons } = prediction;
  const isNumber = prediction.task === "regression";
  return (
    <div class="sub reasons">
      <h3>Reasons</h3>
      <p>Two ways of asking which words the score rests on. They answer for the score of this model and say nothing of what is true.</p>
      {reasons === null ? (
        <p class="note" role="status">{isPending ? "The reasons are being computed." : whyNone(prediction)}</p>
      ) : (
        <>
          <Agreement reasons={reasons} isNumber={isNumber} />
          <div class="g2">
            <WordsFigure reasons={reasons} isReadable={doMethodsAgree(reasons)} isNumber={isNumber} />
            <DeletionFigure reasons={reasons} isNumber={isNumber} />
          </div>
        </>
      )}
    </div>
  );
}

interface Explained {
  reasons: Reasons;
  /** whether the score is a number in the units of the file, and not a logit */
  isNumber: boolean;
}

function doMethodsAgree({ rank_correlation: correlation, is_converged: isConverged }: Reasons): boolean {
  return isConverged && correlation !== null && correlation >= AGREEMENT;
}

function Agreement({ reasons, isNumber }: Explained) {
  const doAgree = doMethodsAgree(reasons);
  return (
    <div class={doAgree ? "agreement" : "agreement is-poor"}>
      <svg viewBox="0 0 26 18" aria-hidden="true">
        <circle cx={doAgree ? 10 : 7} cy="9" r="6" />
        <circle cx={doAgree ? 16 : 19} cy="9" r="6" />
      </svg>
      <p>
        <b>{agreementTitle(reasons, doAgree)}</b> {topWordSentence(reasons)} <CompletenessSentence reasons={reasons} isNumber={isNumber} />
      </p>
    </div>
  );
}

function agreementTitle({ rank_correlation: correlation, is_converged: isConverged }: Reasons, doAgree: boolean): string {
  if (!isConverged) return "The gradients did not converge, so only masking is shown.";
  if (correlation === null) return "The agreement of the two methods cannot be measured: too few different values.";
  if (doAgree) return `The two methods agree: rank correlation ${fixed(correlation, 2)}.`;
  return `The two methods disagree: rank correlation ${fixed(correlation, 2)}. The importance of words should not be read here.`;
}

function topWordSentence(reasons: Reasons): string {
  if (!reasons.is_converged) return "";
  return reasons.is_top_word_equal ? "Both put the same word first." : "They put different words first.";
}

/** Integrated gradients must sum to the change of the score; how far they miss it is said, converged or not. */
function CompletenessSentence({ reasons, isNumber }: Explained) {
  const write = addedWriter(isNumber);
  const change = reasons.score - reasons.masked_score;
  const missed = Math.abs(reasons.completeness_error);
  const written = isNumber ? significant(missed) : missed < 0.005 ? "less than 0.01" : fixed(missed, 2);
  return (
    <>
      Integrated gradients sum to {write(change + reasons.completeness_error)}, and the score changes by {write(change)}{" "}
      from a text with every word masked: {written} is missed after{" "}
      {count(reasons.steps)} steps.
    </>
  );
}

interface WordRow {
  word: string;
  /** in the text */
  index: number;
  gradients: number;
  masking: number;
}

/** Where the methods disagree, the bars are hollow, as every mark of this page that shows no clear finding. */
function WordsFigure({ reasons, isReadable, isNumber }: Explained & { isReadable: boolean }) {
  const write = addedWriter(isNumber);
  const rows = reasons.words.map((word, index) => ({
    word,
    index,
    gradients: reasons.integrated_gradients[index] ?? 0,
    masking: reasons.occlusion[index] ?? 0,
  }));
  const shown = largestRows(rows, reasons.is_converged);
  return (
    <Figure
      title={isReadable ? "Signed weight of words" : "Signed weight of words, not to be read as importance"}
      class={isReadable ? undefined : "is-unclear"}
      sentence={
        <>
          {reasons.runner_up === null ? (
            isNumber ? (
              "Bars to the right raise the predicted number, bars to the left lower it, in the units of the file."
            ) : (
              <>
                Bars to the right raise the logit of “<UserText text={reasons.label} limit={40} />”, bars to the left lower it.
              </>
            )
          ) : (
            <>
              Bars to the right speak for “<UserText text={reasons.label} limit={40} />
              ”, bars to the left for “<UserText text={reasons.runner_up} limit={40} />
              ”, in units of the logit.
            </>
          )}
          {!isReadable && " They are hollow, since no second method confirms them."}
        </>
      }
      table={
        <Table
          caption="Signed weight of every word"
          rows={rows}
          columns={[
            { name: "Word", value: ({ word }) => <UserText text={word} limit={60} /> },
            {
              name: "Integrated gradients",
              value: ({ gradients }) => (reasons.is_converged ? write(gradients, 3) : "not converged"),
              isNumber: true,
            },
            { name: "Masked", value: ({ masking }) => write(masking, 3), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={24 + ROW * (shown.length + (rows.length > shown.length ? 1 : 0)) + 4}
        label="Signed weight of the words that weigh most, by both methods; the table has all words."
        draw={(width) => (
          <SignedBars rows={shown} others={rows.length - shown.length} hasGradients={reasons.is_converged} isNumber={isNumber} width={width} />
        )}
      />
    </Figure>
  );
}

/** The words that weigh most by either method: by gradients where these converged, and by masking. */
function largestRows(rows: WordRow[], hasGradients: boolean): WordRow[] {
  const weight = (row: WordRow) => (hasGradients ? row.gradients : row.masking);
  const top = max(rows, (row) => Math.abs(row.masking)) ?? 0;
  const sorted = [...rows].sort((a, b) => Math.abs(weight(b)) - Math.abs(weight(a)));
  const shown = sorted.slice(0, WORDS_SHOWN);
  const first = rows.find((row) => Math.abs(row.masking) === top);
  return first && !shown.includes(first) ? [...shown, first] : shown;
}

const ROW = 23;
const VALUE_WIDTH = 44;

function SignedBars(props: { rows: WordRow[]; others: number; hasGradients: boolean; isNumber: boolean; width: number }) {
  const { rows, others, hasGradients, isNumber, width } = props;
  const write = addedWriter(isNumber);
  const widest = Math.max(...rows.map(({ word, index }) => plainWidth(wordName(word, index))));
  const left = Math.min(widest, width * 0.3) + 8;
  const column = (width - left - 16) / 2;
  const values = rows.flatMap(({ gradients, masking }) => (hasGradients ? [gradients, masking] : [masking]));
  const domain = barDomain(values, isNumber);
  const bottom = 24 + ROW * rows.length;
  return (
    <>
      {rows.map(({ word, index }, place) => (
        <text class="ink" x={0} y={24 + place * ROW + 15}>
          {wordWithin(word, index, left + 4)}
        </text>
      ))}
      {others > 0 && (
        <text x={0} y={bottom + 15}>
          and {counted(others, "word")} more, in the table
        </text>
      )}
      {hasGradients ? (
        <SignedColumn
          title="integrated gradients"
          values={rows.map(({ gradients }) => gradients)}
          write={write}
          domain={domain}
          left={left}
          width={column}
        />
      ) : (
        <text x={width} y={12} text-anchor="end">
          gradients: not converged
        </text>
      )}
      <SignedColumn
        title="word masked"
        values={rows.map(({ masking }) => masking)}
        write={write}
        domain={domain}
        left={hasGradients ? left + column + 16 : left}
        width={hasGradients ? column : width - left}
      />
    </>
  );
}

/** The ends of a scale of bars that begin at zero. Logits below a hundredth are small, and so are their bars; what is small
 * for a number only its own size can tell. */
export function barDomain(values: readonly number[], isNumber: boolean): [number, number] {
  const [low, high] = [Math.min(0, min(values) ?? 0), Math.max(0, max(values) ?? 0)];
  return isNumber ? [low, low === high ? 1 : high] : [low, Math.max(0.01, high)];
}

interface SignedColumnProps {
  title: string;
  values: number[];
  write: (value: number) => string;
  domain: [number, number];
  left: number;
  width: number;
}

/** Both columns have one scale, so that their bars can be compared. */
function SignedColumn({ title, values, write, domain, left, width }: SignedColumnProps) {
  const room = Math.max(VALUE_WIDTH, ...values.map((value) => textWidth(write(value)) + 12));
  const x = scaleLinear(domain, [left + (domain[0] < 0 ? room : 0), left + width - room]);
  return (
    <g>
      <text class="strong" x={left} y={12}>
        {title}
      </text>
      {values.map((value, index) => {
        const y = 24 + index * ROW;
        const [start, end] = [Math.min(x(0), x(value)), Math.max(x(0), x(value))];
        return (
          <g>
            <rect class={value >= 0 ? "for" : "against"} x={start} width={Math.max(0.5, end - start)} y={y + 4} height={ROW - 9} />
            <text class="ink" x={value >= 0 ? end + 5 : start - 5} y={y + 15} text-anchor={value >= 0 ? "start" : "end"}>
              {write(value)}
            </text>
          </g>
        );
      })}
      <line class="axis" x1={x(0)} x2={x(0)} y1={20} y2={24 + ROW * values.length} />
    </g>
  );
}

const CURVE = { height: 230, left: 36, bottom: 34, top: 10 };

function DeletionFigure({ reasons, isNumber }: Explained) {
  const { deletion, random_deletion: random } = reasons;
  const write = addedWriter(isNumber);
  return (
    <Figure
      title="Masking words one after another"
      sentence={deletionSentence(reasons, isNumber)}
      aside={
        <span class="curve-key" aria-hidden="true">
          <i class="key-solid" /> those for the label first
          <i class="key-dashed" /> in random order
        </span>
      }
      table={
        <Table
          caption="Score after masking words"
          rows={deletion}
          columns={[
            { name: "Words masked", value: (_, index) => index, isNumber: true },
            { name: "Those for the label first", value: (score) => write(score, 3), isNumber: true },
            {
              name: `Random order, mean of ${count(reasons.random_orders)}`,
              value: (_, index) => (random[index] === undefined ? "–" : write(random[index], 3)),
              isNumber: true,
            },
          ]}
        />
      }
    >
      <Plot
        height={CURVE.height}
        label="Score by number of masked words, those for the label first and in random order; the numbers are in the table below."
        draw={(width) => <DeletionCurve deletion={deletion} random={random} isNumber={isNumber} width={width} />}
      />
    </Figure>
  );
}

/** Compares the two curves on average, since a ranking is worth something where its line lies lower. */
function deletionSentence({ deletion, random_deletion: random, random_orders: orders }: Reasons, isNumber: boolean): string {
  const inner = deletion.slice(1, -1).map((score, index) => (random[index + 1] ?? score) - score);
  if (inner.length === 0) return "There are too few words for an order to matter.";
  const lead = inner.reduce((sum, value) => sum + value, 0) / inner.length;
  const written = isNumber ? significant(Math.abs(lead)) : fixed(Math.abs(lead), 2);
  const compared = `on average ${written} ${lead >= 0 ? "below" : "above"} ${count(orders)} random orders`;
  const verdict =
    lead > 0
      ? `The score falls faster in this order than by chance: it lies ${compared}.`
      : `This order is worth no more than chance: its line lies ${compared}.`;
  return isNumber ? verdict : `${verdict} Below 0 the label is another.`;
}

function DeletionCurve(props: { deletion: number[]; random: number[]; isNumber: boolean; width: number }) {
  const { deletion, random, isNumber, width } = props;
  const values = [...(isNumber ? [] : [0]), ...deletion, ...random]; // at 0 the label is another, and a number is only a number
  const y = scaleLinear([min(values) ?? 0, max(values) ?? 1], [CURVE.height - CURVE.bottom, CURVE.top]).nice(4);
  const levels = y.ticks(4);
  const write = tickWriter(levels);
  const left = behindLabels(levels, write, CURVE.left);
  const x = scaleLinear([0, Math.max(1, deletion.length - 1)], [left, width - 8]);
  const path = (scores: number[]) => `M${scores.map((score, index) => `${x(index).toFixed(1)} ${y(score).toFixed(1)}`).join("L")}`;
  const floor = CURVE.height - CURVE.bottom;
  const ticks = x.ticks(Math.min(6, deletion.length - 1)).filter(Number.isInteger);
  return (
    <>
      {levels.map((tick) => (
        <g>
          <line class={tick === 0 ? "axis" : "grid"} x1={left} x2={width} y1={y(tick)} y2={y(tick)} />
          <text x={left - 8} y={y(tick) + 4} text-anchor="end">
            {write(tick)}
          </text>
        </g>
      ))}
      {ticks.map((tick) => (
        <text x={x(tick)} y={floor + 17} text-anchor="middle">
          {tick}
        </text>
      ))}
      <text x={width} y={floor + 32} text-anchor="end">
        words masked
      </text>
      <path class="curve is-random" d={path(random)} />
      <path class="curve" d={path(deletion)} />
    </>
  );
}
