// The reader's own text, where something can compute it: a live server, or the model in this file.
import { useEffect, useRef, useState } from "preact/hooks";

import type { Oracle } from "../oracle.ts";
import type { FillTrace, PredictionTrace } from "../trace.ts";
import { FillView } from "./fill.tsx";
import { PredictionView } from "./view.tsx";

const MASK = "[MASK]";
/** From so many characters on, the reader is told that it can take long. */
const LONG = 400;

type Answer = { prediction: PredictionTrace } | { fill: FillTrace };

/** What the reader typed and got; it stays while another tab is looked at. */
export interface Typed {
  text: string;
  /** the second text, of a model of pairs */
  pair: string;
  answer: Answer | null;
}

export function TypedPanel({ oracle, kept, hasPairs }: { oracle: Oracle; kept: Typed; hasPairs: boolean }) {
  const [text, setText] = useState(kept.text);
  const [pair, setPair] = useState(kept.pair);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [answer, setAnswer] = useState(kept.answer);
  const [caution, setCaution] = useState<string | null>(null);
  const asked = useRef(0);
  const input = useRef<HTMLTextAreaElement>(null);
  const result = useRef<HTMLDivElement>(null);
  const shown = useRef(0);

  useEffect(() => {
    // once for each text: the rest of an answer must not take the focus from whoever types the next one
    if (answer !== null && answer !== kept.answer && shown.current !== asked.current) {
      shown.current = asked.current;
      result.current?.focus();
    }
    kept.answer = answer;
  }, [answer, kept]);

  const ask = async (event: Event) => {
    event.preventDefault();
    const isLone = hasPairs && !text.includes(MASK) && pair.trim() === "";
    const problem = problemOf(text) ?? (isLone ? "This model reads two texts. Type the second one, too." : null);
    setError(problem);
    if (problem) return input.current?.focus();
    const number = ++asked.current;
    setBusy(true);
    setAnswer(null);
    const isFill = text.includes(MASK);
    setCaution(oracle.caution?.(text) ?? null);
    const showPart = (prediction: PredictionTrace) => {
      if (number === asked.current) setAnswer({ prediction });
    };
    try {
      const found = isFill ? { fill: await oracle.fill(text) } : { prediction: await oracle.trace(text, showPart, hasPairs ? pair : undefined) };
      if (number === asked.current) setAnswer(found);
    } catch (problem) {
      if (number === asked.current) setError(sentenceOf(problem));
    } finally {
      if (number === asked.current) setBusy(false);
    }
  };

  return (
    <>
      <form class="typed" onSubmit={ask} aria-busy={isBusy}>
        <label for="typed-text">Your text</label>
        <textarea
          id="typed-text"
          ref={input}
          rows={3}
          dir="auto"
          value={text}
          aria-invalid={error !== null}
          aria-describedby="typed-note typed-error"
          onInput={(event) => {
            kept.text = event.currentTarget.value;
            setText(kept.text);
          }}
        />
        {hasPairs && (
          <>
            <label for="typed-pair">The second text</label>
            <textarea
              id="typed-pair"
              rows={3}
              dir="auto"
              value={pair}
              onInput={(event) => {
                kept.pair = event.currentTarget.value;
                setPair(kept.pair);
              }}
            />
          </>
        )}
        <p class="note" id="typed-note">
          With {MASK} in place of one word, that word is filled in. Computed {oracle.place}.
        </p>
        {caution && (
          <p class="note" role="status">
            {caution}
          </p>
        )}
        <p class="typed-error" id="typed-error" role="alert">
          {error}
        </p>
        <p class="note" role="status">
          {isBusy && answer !== null && "The reasons are being computed. Another text can be traced meanwhile."}
          {isBusy && answer === null && text.length > LONG && "Computing. A long text can take a minute or more."}
        </p>
        <p class="actions">
          <button type="submit" class="button is-primary" aria-disabled={isBusy && answer === null}>
            {isBusy && answer === null ? "Computing …" : "Trace this text"}
          </button>
        </p>
      </form>
      <div ref={result} tabIndex={-1} class="typed-result" aria-live="off">
        {answer &&
          ("fill" in answer ? (
            <FillView key={asked.current} fill={answer.fill} isRedacted={false} />
          ) : (
            <PredictionView key={asked.current} prediction={answer.prediction} isRedacted={false} isPending={isBusy} />
          ))}
      </div>
    </>
  );
}

/** What is wrong with a typed text before it is asked about, as a sentence. */
export function problemOf(text: string): string | null {
  if (text.trim() === "") return "There is no text yet. Type a sentence.";
  const masks = text.split(MASK).length - 1;
  return masks > 1 ? `There are ${masks} masks, and one word can be filled in at a time. Leave one ${MASK}.` : null;
}

function sentenceOf(error: unknown): string {
  const sentence = error instanceof Error ? error.message : String(error);
  return sentence.trim() === "" ? "The text could not be computed. Try again." : sentence;
}
