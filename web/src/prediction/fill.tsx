// A masked word through the layers of the pre-trained model.
import { useState } from "preact/hooks";

import { Bars } from "../charts/bars.tsx";
import { Figure, Plot, Table } from "../charts/figure.tsx";
import { scaleLinear } from "../charts/scale.ts";
import { count, fixed, probability, signed } from "../format.ts";
import { MaskedText, UserText } from "../text.tsx";
import type { FillReadout, FillTrace } from "../trace.ts";
import { layerName, plainText, plainWidth, wordName, wordWithin } from "./figures.ts";
import { Stop } from "./stop.tsx";
import { Chips } from "./tokens.tsx";

/** One sentence with a hidden word; several are chosen from a list. */
export function FillPanel({ fills, isRedacted }: { fills: readonly FillTrace[]; isRedacted: boolean }) {
  const [chosen, setChosen] = useState(0);
  const fill = fills[Math.min(chosen, fills.length - 1)];
  if (!fill) return null;
  return (
    <>
      {fills.length > 1 && (
        <label class="field sentence-choice">
          <span>Sentence</span>
          <select value={Math.min(chosen, fills.length - 1)} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
            {fills.map((other, index) => (
              <option value={index}>
                {index + 1}: {plainText(other.masked_text, 60)}
              </option>
            ))}
          </select>
        </label>
      )}
      <FillView key={fill.id + fill.masked_text} fill={fill} isRedacted={isRedacted} />
    </>
  );
}

/** In a redacted document all words are one sign, so none of them is the hidden word. */
export function FillView({ fill, isRedacted }: { fill: FillTrace; isRedacted: boolean }) {
  const isTrue = (word: string) => !isRedacted && word === fill.true_word;
  const [selected, setSelected] = useState(Math.max(0, fill.tokens.findIndex(({ position }) => position === fill.mask_position)));
  const last = fill.readouts.at(-1);
  return (
    <>
      <p class="prediction-text">
        “
        <MaskedText text={fill.masked_text} slot={<span class="mask-slot">[MASK]</span>} />”
      </p>
      <p class="prediction-meta">
        {fill.true_word === null ? (
          "No word is known to be right here."
        ) : (
          <>
            The hidden word is “<UserText text={fill.true_word} limit={60} />”
            {last?.rank != null && `; its rank after the last layer is ${count(last.rank)}`}.
          </>
        )}
      </p>
      <div class="spine journey">
        <Stop number={1} title="Tokens" note="The hidden word is one token, the mask; the model reads what stands on both sides.">
          <div>
            <Chips tokens={fill.tokens} selected={selected} onSelect={setSelected} maskPosition={fill.mask_position} />
          </div>
        </Stop>
        <Stop
          number={2}
          title="Read-outs"
          note="What the output layer would say if the model ended earlier. It was trained for the last layer only."
        >
          <ReadoutTable readouts={fill.readouts} hasTruth={fill.true_word !== null} isTrue={isTrue} />
        </Stop>
        <Stop number={3} isLast title="Guesses" note="The words with the highest probability, for the model as it is.">
          <Figure title="Five likeliest words" sentence={guessSentence(fill, isTrue)}>
            <Bars
              label="Guesses for the hidden word"
              bars={fill.predictions.map((guess) => ({
                name: <UserText text={guess.word} limit={30} />,
                value: guess.probability,
                written: probability(guess.probability),
                isAccent: isTrue(guess.word),
              }))}
            />
          </Figure>
          {fill.words.length > 0 && <OcclusionFigure fill={fill} />}
        </Stop>
      </div>
    </>
  );
}

type IsTrue = (word: string) => boolean;

function guessSentence(fill: FillTrace, isTrue: IsTrue): string {
  const sentence = "Probabilities over the whole vocabulary";
  if (fill.predictions.some(({ word }) => isTrue(word))) return `${sentence}; the hidden word is blue.`;
  const rank = fill.readouts.at(-1)?.rank ?? null;
  const isAbsent = fill.true_word !== null && rank !== null && rank > fill.predictions.length;
  return isAbsent ? `${sentence}; the hidden word is not among them.` : `${sentence}.`;
}

function ReadoutTable({ readouts, hasTruth, isTrue }: { readouts: FillReadout[]; hasTruth: boolean; isTrue: IsTrue }) {
  return (
    <Table
      caption="Likeliest words after each layer"
      class="fill-readouts"
      rows={readouts}
      columns={[
        { name: "After", value: ({ layer }) => layerName(layer) },
        { name: "Likeliest words", value: ({ predictions }) => <Guesses guesses={predictions} isTrue={isTrue} /> },
        ...(hasTruth
          ? [
              {
                name: "Hidden word",
                value: (readout: FillReadout) => (readout.probability === null ? "–" : probability(readout.probability)),
                isNumber: true,
              },
              {
                name: "Its rank",
                value: (readout: FillReadout) => (readout.rank === null ? "–" : count(readout.rank)),
                isNumber: true,
              },
            ]
          : []),
      ]}
    />
  );
}

function Guesses({ guesses, isTrue }: { guesses: FillReadout["predictions"]; isTrue: IsTrue }) {
  return (
    <span class="guesses">
      {guesses.map(({ word, probability: value }) => (
        <span class={isTrue(word) ? "guess is-true" : "guess"}>
          <UserText text={word} limit={20} /> <small>{probability(value)}</small>
        </span>
      ))}
    </span>
  );
}

const ROW = 23;
const WORDS_SHOWN = 8;
const VALUE_WIDTH = 48;

function OcclusionFigure({ fill }: { fill: FillTrace }) {
  const rows = fill.words
    .map((word, index) => ({ word, value: fill.occlusion[index] ?? 0, index }))
    .filter(({ word }) => word !== "[MASK]");
  const shown = [...rows].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, WORDS_SHOWN);
  const first = fill.predictions[0]?.word ?? "";
  return (
    <Figure
      title="Hiding a second word"
      sentence={
        <>
          How far the log-probability of “<UserText text={first} limit={30} />” falls when this word is hidden, too. The
          words that matter most are shown.
        </>
      }
      table={
        <Table
          caption="Fall of the log-probability by hidden word"
          rows={rows}
          columns={[
            { name: "Word", value: ({ word }) => <UserText text={word} limit={60} /> },
            { name: "Fall", value: ({ value }) => signed(value, 3), isNumber: true },
          ]}
        />
      }
    >
      <Plot
        height={ROW * shown.length + 4}
        label="Fall of the log-probability for the words that matter most; the table has all words."
        draw={(width) => <FallBars rows={shown} width={width} />}
      />
    </Figure>
  );
}

interface FallRow {
  word: string;
  value: number;
  /** of the word in the text */
  index: number;
}

function FallBars({ rows, width }: { rows: FallRow[]; width: number }) {
  const left = Math.min(width * 0.4, Math.max(...rows.map(({ word, index }) => plainWidth(wordName(word, index))))) + 8;
  const values = rows.map(({ value }) => value);
  const low = Math.min(0, ...values);
  const x = scaleLinear([low, Math.max(0.01, ...values)], [left + (low < 0 ? VALUE_WIDTH : 0), width - VALUE_WIDTH]);
  return (
    <>
      {rows.map(({ word, value, index }, place) => (
        <g>
          <text class="ink" x={0} y={place * ROW + 15}>
            {wordWithin(word, index, left)}
          </text>
          <rect
            class={value >= 0 ? "for" : "against"}
            x={Math.min(x(0), x(value))}
            width={Math.max(0.5, Math.abs(x(value) - x(0)))}
            y={place * ROW + 4}
            height={ROW - 9}
          />
          <text
            class="ink"
            x={value >= 0 ? x(value) + 5 : x(value) - 5}
            y={place * ROW + 15}
            text-anchor={value >= 0 ? "start" : "end"}
          >
            {fixed(value, 2)}
          </text>
        </g>
      ))}
      <line class="axis" x1={x(0)} x2={x(0)} y1={0} y2={ROW * rows.length} />
    </>
  );
}
