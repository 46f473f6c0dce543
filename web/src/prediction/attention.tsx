// The attention of one head: context for the curious, folded, and no reason for the decision.
import { useMemo, useState } from "preact/hooks";

import { Bars } from "../charts/bars.tsx";
import { Plot } from "../charts/figure.tsx";
import { Fold } from "../fold.tsx";
import { count, fixed, percent } from "../format.ts";
import { UserText } from "../text.tsx";
import type { Attention, Token } from "../trace.ts";
import { attentionWeights } from "./arithmetic.ts";
import { difference, plainText, plainWidth, surfaceOf } from "./figures.ts";
import { Holds } from "./stop.tsx";
import type { Selection } from "./tokens.tsx";

const [LARGEST_SIDE, TOP, LINE] = [460, 20, 11];
const SOURCES = 6;

interface AttentionProps extends Selection {
  attention: Attention;
  tokens: readonly Token[];
}

export function AttentionFold(props: AttentionProps) {
  return (
    <Fold name="Attention: where each head reads from">
      <AttentionView {...props} />
    </Fold>
  );
}

function AttentionView({ attention, tokens, selected, onSelect }: AttentionProps) {
  const [layers = 0, heads = 0, length = 0] = attention.shape;
  const [layer, setLayer] = useState(0);
  const [head, setHead] = useState(0);
  const weights = useMemo(() => attentionWeights(attention, layer, head), [attention, layer, head]);
  const shown = tokens.slice(0, length);
  const row = Math.min(selected, Math.max(0, length - 1));
  const special = attention.special_fraction[layer]?.[head];
  return (
    <div class="attention">
      <p class="caveat">
        This shows from which tokens each token is mixed, as weights that sum to 1. It is no reason for the decision, and no
        ranking of words on this page is made from it.
      </p>
      <div class="choices">
        <Choice name="Layer" total={layers} value={layer} onChoose={setLayer} />
        <Choice name="Head" total={heads} value={head} onChoose={setHead} />
      </div>
      {special !== undefined && (
        <p class="note">
          {percent(special)} of this head’s weight goes to special tokens, which hold no word.
        </p>
      )}
      <div class="attention-views">
        <Plot
          height={(width) => matrixLayout(width, shown).side + TOP}
          label={`Weights of layer ${layer + 1}, head ${head + 1}, from ${count(length)} to ${count(length)} tokens. The list beside it says the largest of the chosen token.`}
          draw={(width) => <Matrix weights={weights} tokens={shown} row={row} width={width} />}
        />
        <div class="sources">
          <label class="field">
            <span>Read by</span>
            <select value={row} onChange={(event) => onSelect(Number(event.currentTarget.value))}>
              {shown.map((token, index) => (
                <option value={index}>
                  {index}: {plainText(surfaceOf(token.surface))}
                </option>
              ))}
            </select>
          </label>
          <Sources weights={weights[row] ?? []} tokens={shown} />
        </div>
      </div>
      <Holds isOk={attention.row_sum_error <= 1e-4}>
        the weights of each token sum to 1, largest difference {difference(attention.row_sum_error)} when traced
      </Holds>
    </div>
  );
}

function Choice(props: { name: string; total: number; value: number; onChoose: (value: number) => void }) {
  return (
    <label class="field">
      <span>{props.name}</span>
      <select value={props.value} onChange={(event) => props.onChoose(Number(event.currentTarget.value))}>
        {Array.from({ length: props.total }, (_, index) => (
          <option value={index}>
            {index + 1} of {props.total}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The side of the matrix, and the room for names before it: none where the rows are lower than a line of text. */
function matrixLayout(width: number, tokens: readonly Token[]): { side: number; left: number } {
  const names = Math.min(110, Math.max(...tokens.map((token) => plainWidth(plainText(surfaceOf(token.surface), 14)))));
  const side = Math.min(width - names, LARGEST_SIDE);
  return side / Math.max(1, tokens.length) < LINE ? { side: Math.min(width, LARGEST_SIDE), left: 0 } : { side, left: names };
}

/** A square for each weight, its area in proportion; rows read, columns are read. */
function Matrix(props: { weights: number[][]; tokens: readonly Token[]; row: number; width: number }) {
  const { weights, tokens, row } = props;
  const { side, left } = matrixLayout(props.width, tokens);
  const cell = side / Math.max(1, tokens.length);
  const squares = weights.flatMap((line, reader) =>
    line.map((weight, source) => {
      const size = (cell - 1) * Math.sqrt(weight);
      if (size < 0.6) return "";
      const [x, y] = [left + (source + 0.5) * cell - size / 2, TOP + (reader + 0.5) * cell - size / 2];
      return `M${fixedPoint(x)} ${fixedPoint(y)}h${fixedPoint(size)}v${fixedPoint(size)}h${fixedPoint(-size)}z`;
    }),
  );
  return (
    <>
      <text x={left} y={12}>
        read from, in the same order
      </text>
      <rect class="field-of" x={left} y={TOP} width={side} height={side} />
      <rect class="chosen-row" x={left} y={TOP + row * cell} width={side} height={cell} />
      <path class="squares" d={squares.join("")} />
      {left > 0 &&
        tokens.map((token, index) => (
          <text class={index === row ? "accent small" : "name small"} x={left - 6} y={TOP + (index + 0.5) * cell + 4} text-anchor="end">
            {plainText(surfaceOf(token.surface), 14)}
          </text>
        ))}
    </>
  );
}

function fixedPoint(value: number): string {
  return value.toFixed(1);
}

function Sources({ weights, tokens }: { weights: readonly number[]; tokens: readonly Token[] }) {
  const largest = weights
    .map((weight, index) => ({ weight, index }))
    .sort((a, b) => b.weight - a.weight)
    .slice(0, SOURCES);
  return (
    <Bars
      label="Reads from"
      bars={largest.map(({ weight, index }) => ({
        key: index,
        name: (
          <>
            <span class="place">{index}</span> <UserText text={surfaceOf(tokens[index]?.surface ?? "")} limit={20} />
          </>
        ),
        value: weight,
        written: weight < 0.005 ? "<0.01" : fixed(weight, 2),
      }))}
    />
  );
}
