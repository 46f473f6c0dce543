// Stop 1: the tokens of the text as chips. One of them is selected, for the other stops, too.
import { Fragment } from "preact";
import { useRef, useState } from "preact/hooks";

import { Table } from "../charts/figure.tsx";
import { focusAdded } from "../focus.ts";
import { Fold } from "../fold.tsx";
import { count, fixed } from "../format.ts";
import { UserText } from "../text.tsx";
import type { PredictionTrace, Token, WordGuess } from "../trace.ts";
import { countWindows, joinTokens } from "./arithmetic.ts";
import { plainText, surfaceOf } from "./figures.ts";
import { Holds, Stop } from "./stop.tsx";

const SHOWN_AT_FIRST = 120;

export interface Selection {
  /** index into the tokens */
  selected: number;
  onSelect: (index: number) => void;
}

export function TokenStop({
  prediction,
  isRedacted,
  selected,
  onSelect,
}: { prediction: PredictionTrace; isRedacted: boolean } & Selection) {
  const { tokens, embedding } = prediction;
  const token = tokens[selected];
  return (
    <Stop
      number={1}
      title="Tokens"
      note={`The text becomes tokens that the model has a number for.${prediction.text_pair === null ? "" : " Both texts stand in one row; the second begins after the first end token."}`}
      check={<JoinCheck prediction={prediction} isRedacted={isRedacted} />}
    >
      <div>
        <Chips tokens={tokens} selected={selected} onSelect={onSelect} />
        {token && !isRedacted && (
          <p class="tokinfo" aria-live="polite">
            <TokenFacts token={token} />
            <NeighbourWords words={neighboursOf(prediction, token)} />
          </p>
        )}
        {embedding && !isRedacted && (
          <Fold name="Table of tokens">
            <TokenTable prediction={prediction} />
          </Fold>
        )}
      </div>
    </Stop>
  );
}

function neighboursOf(prediction: PredictionTrace, token: Token): WordGuess[] {
  return prediction.embedding.neighbours.find(({ position }) => position === token.position)?.words ?? [];
}

function JoinCheck({ prediction, isRedacted }: { prediction: PredictionTrace; isRedacted: boolean }) {
  const { text, text_pair: pair, tokens, was_cut: wasCut } = prediction;
  if (isRedacted) return <p class="stop-note">The text is left out of this file, so its tokens cannot be put together here.</p>;
  if (!tokens.some(({ start }) => start !== null)) return null;
  const isCloze = prediction.read_position !== null && prediction.word === null;
  const parts = [joinTokens(text, tokens.filter((token) => !token.in_pair), wasCut, isCloze ? 2 : 1)];
  if (pair !== null) parts.push(joinTokens(pair, tokens.filter((token) => token.in_pair), wasCut));
  const { holds, lost } = parts.find((part) => !part.holds) ?? { holds: true, lost: "" };
  if (!holds) {
    return (
      <Holds isOk={false}>
        the tokens leave out “<UserText text={lost} limit={40} />”
      </Holds>
    );
  }
  if (wasCut && prediction.word !== null) return <Holds isOk>the tokens put together give the part of the text that is shown</Holds>;
  const cut = countWindows(prediction) > 1 ? "the stretches between windows that were left out" : "the middle that was cut";
  const rest = wasCut ? `, but for ${cut}` : "";
  return <Holds isOk>the tokens put together give {pair === null ? "the text" : "both texts"}{rest}</Holds>;
}

/** The chip in the order of Tab. The selected token may be one that is not shown yet; then it is the last one. */
function chipInOrder(selected: number, shown: number): number {
  return Math.min(selected, shown - 1);
}

/** The chip to which a key moves; null if it moves to none. */
export function chipAfter(key: string, selected: number, shown: number): number | null {
  const current = chipInOrder(selected, shown);
  const targets: Record<string, number> = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: shown - 1 };
  const target = targets[key];
  return target === undefined || target < 0 || target >= shown ? null : target;
}

/** The tokens in one row that wraps; arrow keys move the selection, and Tab leaves the row. */
export function Chips({
  tokens,
  selected,
  onSelect,
  maskPosition = null,
}: { tokens: readonly Token[]; maskPosition?: number | null } & Selection) {
  const host = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  const shown = isOpen ? tokens : tokens.slice(0, SHOWN_AT_FIRST);

  const move = (event: KeyboardEvent) => {
    const target = chipAfter(event.key, selected, shown.length);
    if (target === null) return;
    event.preventDefault();
    onSelect(target);
    host.current?.querySelectorAll<HTMLButtonElement>("button.chip")[target]?.focus();
  };

  const showAll = () => {
    setOpen(true);
    focusAdded(() => host.current?.querySelectorAll<HTMLButtonElement>("button.chip")[SHOWN_AT_FIRST]);
  };

  return (
    <>
      <div class="chips" role="toolbar" aria-label="Tokens; arrow keys move" ref={host} onKeyDown={move}>
        {shown.map((token, index) => (
          <button
            type="button"
            class={chipClass(token, tokens[index - 1], maskPosition)}
            tabIndex={index === chipInOrder(selected, shown.length) ? 0 : -1}
            aria-pressed={index === selected}
            onClick={() => onSelect(index)}
          >
            <b>
              <UserText text={surfaceOf(token.surface)} limit={24} />
            </b>
            {token.id !== null && <i>{token.id}</i>}
          </button>
        ))}
      </div>
      {shown.length < tokens.length && (
        <p class="more">
          <button type="button" class="button" onClick={showAll}>
            Show all {count(tokens.length)} tokens
          </button>
        </p>
      )}
    </>
  );
}

function chipClass(token: Token, previous: Token | undefined, maskPosition: number | null): string {
  if (token.position === maskPosition) return "chip msk";
  if (token.is_special) return "chip sp";
  return token.word !== null && previous?.word === token.word ? "chip join" : "chip";
}

function TokenFacts({ token }: { token: Token }) {
  const isPlaced = token.start !== null && token.end !== null && !token.is_special;
  return (
    <>
      <b>
        <UserText text={surfaceOf(token.surface)} limit={60} />
      </b>
      {token.id !== null && `, id ${count(token.id)}`}
      {isPlaced && `, characters ${count(token.start!)} to ${count(token.end!)}`}
      {token.is_special ? ", a special token" : token.count !== null && `, ${seen(token.count)}`}.
    </>
  );
}

function seen(times: number): string {
  if (times === 0) return "never seen in the training text";
  return times === 1 ? "seen once in the training text" : `seen ${count(times)} times in the training text`;
}

function NeighbourWords({ words }: { words: readonly WordGuess[] }) {
  if (words.length === 0) return null;
  return (
    <span class="line">
      Nearest by cosine after standardising: <Guesses words={words} />.
    </span>
  );
}

/** Words with their similarity, one after another. */
function Guesses({ words }: { words: readonly WordGuess[] }) {
  return (
    <>
      {words.map(({ word, probability }, index) => (
        <Fragment key={index}>
          {index > 0 && ", "}
          <UserText text={surfaceOf(word)} limit={24} /> {fixed(probability, 2)}
        </Fragment>
      ))}
    </>
  );
}

function TokenTable({ prediction }: { prediction: PredictionTrace }) {
  return (
    <Table
      caption={`Tokens of ${plainText(prediction.text, 40)}`}
      rows={prediction.tokens}
      columns={[
        { name: "Position", value: (token) => token.position, isNumber: true },
        { name: "Token", value: (token) => <UserText text={surfaceOf(token.surface)} limit={60} /> },
        { name: "Id", value: (token) => token.id ?? "–", isNumber: true },
        { name: "Characters", value: (token) => charactersOf(token), isNumber: true },
        { name: "Times seen", value: (token) => (token.count === null ? "–" : count(token.count)), isNumber: true },
        { name: "Length", value: (_, index) => lengthOf(prediction, index), isNumber: true },
        { name: "Nearest tokens", value: (token) => <div class="neighbours"><Guesses words={neighboursOf(prediction, token)} /></div> },
      ]}
    />
  );
}

function charactersOf(token: Token): string {
  return token.start === null || token.end === null ? "–" : `${token.start} to ${token.end}`;
}

function lengthOf(prediction: PredictionTrace, index: number): string {
  const norm = prediction.embedding.norms[index];
  return norm === undefined ? "–" : fixed(norm, 2);
}
