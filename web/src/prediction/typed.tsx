// The reader's own text, where something can compute it: a live server, or the model in this file.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Oracle } from "../oracle.ts";
import type { FillTrace, PredictionTrace } from "../trace.ts";
import { FillView } from "./fill.tsx";
import { PredictionView } from "./view.tsx";

const MASK = "[MASK]";
/** From so many characters on, the reader is told that it can take long. */
const LONG = 400;

type Answer = { prediction: PredictionTrace } | { fill: FillTrace };

/** What the reader typed and got. It stays while another tab is looked at, and what is being computed still arrives. */
export interface Typed {
  text: string;
  /** the second text, of a model of pairs */
  pair: string;
  answer: Answer | null;
  error: string | null;
  /** the field that the error is about */
  wrong: "text" | "pair";
  caution: string | null;
  isBusy: boolean;
  /** how many texts were asked about; an answer to one before the last is not shown */
  asked: number;
  /** draws the panel again, while it is there */
  redraw: (() => void) | null;
}

export function nothingTyped(): Typed {
  return { text: "", pair: "", answer: null, error: null, wrong: "text", caution: null, isBusy: false, asked: 0, redraw: null };
}

function change(kept: Typed, values: Partial<Typed>): void {
  Object.assign(kept, values);
  kept.redraw?.();
}

/** Ask about what was typed, part by part. The panel may be gone, and there again, before the answer is. */
export async function askAbout(kept: Typed, oracle: Oracle, hasPairs: boolean): Promise<void> {
  const { text, pair } = kept;
  const number = kept.asked + 1;
  const tell = (values: Partial<Typed>) => {
    if (number === kept.asked) change(kept, values);
  };
  change(kept, { asked: number, isBusy: true, answer: null, error: null, wrong: "text", caution: oracle.caution?.(text) ?? null });
  const showPart = (prediction: PredictionTrace) => tell({ answer: { prediction } });
  try {
    const answer = text.includes(MASK)
      ? { fill: await oracle.fill(text) }
      : { prediction: await oracle.trace(text, showPart, hasPairs ? pair : undefined) };
    tell({ answer });
  } catch (problem) {
    tell({ error: sentenceOf(problem) });
  } finally {
    tell({ isBusy: false });
  }
}

export function TypedPanel({ oracle, kept, hasPairs }: { oracle: Oracle; kept: Typed; hasPairs: boolean }) {
  const [, setDrawn] = useState(0);
  const form = useRef<HTMLFormElement>(null);
  const result = useRef<HTMLDivElement>(null);
  const shown = useRef(kept.answer === null ? 0 : kept.asked);
  const { text, pair, answer, error, wrong, caution, isBusy } = kept;

  useLayoutEffect(() => {
    const redraw = () => setDrawn((times) => times + 1);
    kept.redraw = redraw;
    return () => {
      if (kept.redraw === redraw) kept.redraw = null;
    };
  }, [kept]);

  useEffect(() => {
    // once for each text: the rest of an answer must not take the focus from whoever types the next one
    if (answer !== null && shown.current !== kept.asked) {
      shown.current = kept.asked;
      result.current?.focus();
    }
  }, [answer, kept]);

  const ask = (event: Event) => {
    event.preventDefault();
    const problem = complaintOf(text, hasPairs ? pair : null);
    if (problem === null) return askAbout(kept, oracle, hasPairs);
    change(kept, problem);
    form.current?.querySelector<HTMLElement>(`#typed-${problem.wrong}`)?.focus();
  };

  return (
    <>
      <form class="typed" ref={form} onSubmit={ask} aria-busy={isBusy}>
        <label for="typed-text">Your text</label>
        <textarea
          id="typed-text"
          rows={3}
          dir="auto"
          value={text}
          aria-invalid={error !== null && wrong === "text"}
          aria-describedby="typed-note typed-error"
          onInput={(event) => change(kept, { text: event.currentTarget.value })}
        />
        {hasPairs && (
          <>
            <label for="typed-pair">The second text</label>
            <textarea
              id="typed-pair"
              rows={3}
              dir="auto"
              value={pair}
              aria-invalid={error !== null && wrong === "pair"}
              aria-describedby="typed-error"
              onInput={(event) => change(kept, { pair: event.currentTarget.value })}
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
            <FillView key={kept.asked} fill={answer.fill} isRedacted={false} />
          ) : (
            <PredictionView key={kept.asked} prediction={answer.prediction} isRedacted={false} isPending={isBusy} />
          ))}
      </div>
    </>
  );
}

/** What is wrong with what was typed, and in which field; `pair` is null for a model of single texts. */
export function complaintOf(text: string, pair: string | null): Pick<Typed, "error" | "wrong"> | null {
  const error = problemOf(text);
  if (error !== null) return { error, wrong: "text" };
  if (pair === null || text.includes(MASK) || pair.trim() !== "") return null;
  return { error: "This model reads two texts. Type the second one, too.", wrong: "pair" };
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
