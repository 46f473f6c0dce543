import { useState } from "preact/hooks";

import { Bars } from "../charts/bars.tsx";
import { count, probability } from "../format.ts";
import { LEFT_OUT, MaskedText, Quoted, UserText } from "../text.tsx";
import type { Example, MaskedExample, RunTrace } from "../trace.ts";

/** What the example is after a stage; nothing where the stage has not run. */
export function ExampleAt({ stage, trace, example }: { stage: string; trace: RunTrace; example: Example }) {
  switch (stage) {
    case "collect":
      return <Found example={example} />;
    case "preprocess":
      return <Tokens example={example} />;
    case "pretrain":
      return example.masked && <Masked masked={example.masked} trace={trace} />;
    case "prepare":
      return <Row example={example} />;
    case "finetune":
      return <Predicted example={example} labels={trace.errors?.labels ?? []} />;
    default:
      return null;
  }
}

function Found({ example }: { example: Example }) {
  if (example.text === null) return null;
  return (
    <>
      <p class="small-label">
        The example, as found
        {example.source && (
          <>
            {" "}
            in <UserText text={example.source} />
          </>
        )}
      </p>
      <blockquote>
        <Quoted text={example.text} limit={400} />
      </blockquote>
    </>
  );
}

const SHOWN_TOKENS = 16;

function Tokens({ example }: { example: Example }) {
  const [isOpen, setOpen] = useState(false);
  const { clean_text, tokens, ids } = example;
  if (clean_text === null && tokens.length === 0) return null;
  const isSame = isUnchanged(example);
  const shown = isOpen ? tokens : tokens.slice(0, SHOWN_TOKENS);
  const rest = tokens.length - shown.length;
  return (
    <>
      <p class="small-label">
        {isSame ? "Text unchanged by cleaning" : "Text after cleaning"}
        {cutInto(tokens, ids)}
      </p>
      {!isSame && clean_text !== null && (
        <blockquote>
          <Quoted text={clean_text} limit={400} />
        </blockquote>
      )}
      <TokenRow tokens={shown} ids={ids} />
      {(rest > 0 || isOpen) && tokens.length > SHOWN_TOKENS && (
        <button type="button" class="plain-button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Fewer tokens" : `${count(rest)} more tokens`}
        </button>
      )}
    </>
  );
}

/** Redacted texts are both the same sign, so their equality says nothing. */
export function isUnchanged({ text, clean_text }: Pick<Example, "text" | "clean_text">): boolean {
  return text !== LEFT_OUT && text === clean_text;
}

const MOST_TOKENS = 512; // of a long text, all that a trace holds

export function cutInto({ length }: string[], ids: number[]): string {
  if (length === 0) return "";
  const also = ids.length > 0 ? ", each with its id" : ""; // a file without texts has no ids
  return length < MOST_TOKENS ? `; cut into ${count(length)} tokens${also}` : `; its first ${length} tokens${also}`;
}

/** Tokens with their ids. The gap shows where a word begins: at a token with a space before it, or else without ##. */
export function TokenRow({ tokens, ids }: { tokens: string[]; ids: number[] }) {
  const begins = tokens.some((token) => BLANK.test(token)) ? BLANK : /^(?!##.)/;
  return (
    <ol class="tokens">
      {tokens.map((token, index) => {
        const isContinued = !isSpecial(token) && !beginsWord(tokens[index + 1], begins);
        const kind = ["token", isSpecial(token) ? "is-special" : "", isContinued ? "is-continued" : ""].join(" ").trim();
        return (
          <li class={kind}>
            <b>
              <UserText text={token.trim() || token} limit={24} />
            </b>
            {ids.length > 0 && <span>{ids[index] ?? "–"}</span>}
          </li>
        );
      })}
    </ol>
  );
}

function isSpecial(token: string): boolean {
  return /^\[[A-Z0-9]+\]$/.test(token);
}

const BLANK = /^[\s▁Ġ]/;

function beginsWord(token: string | undefined, begins: RegExp): boolean {
  return token === undefined || token === LEFT_OUT || isSpecial(token) || begins.test(token);
}

function Masked({ masked, trace }: { masked: MaskedExample; trace: RunTrace }) {
  const vocabulary = trace.tokenizer?.vocab_size ?? null;
  // Without the texts all words are the same sign: then the rank tells which guess is the hidden word.
  const isHidden = (word: string, index: number) => (trace.is_redacted ? masked.rank === index + 1 : word === masked.true_word);
  const isAmong = masked.predictions.slice(0, 4).some((guess, index) => isHidden(guess.word, index));
  const bars = masked.predictions.slice(0, 4).map((guess, index) => ({
    name: <UserText text={guess.word} limit={24} />,
    value: guess.probability,
    written: probability(guess.probability),
    isAccent: isHidden(guess.word, index),
  }));
  if (!isAmong && masked.probability !== null) {
    bars.push({
      name: <UserText text={masked.true_word} limit={24} />,
      value: masked.probability,
      written: probability(masked.probability),
      isAccent: true,
    });
  }
  return (
    <>
      <p class="small-label">One word hidden; the model’s guesses for it</p>
      <blockquote>
        “<MaskedText text={masked.masked_text} slot={<span class="mask">[MASK]</span>} />”
      </blockquote>
      <Bars bars={bars} label="Likeliest words for the mask" />
      {masked.rank !== null && (
        <p class="example-note">
          The hidden word, <b><UserText text={masked.true_word} limit={40} /></b>, has rank {count(masked.rank)}
          {vocabulary !== null && ` of ${count(vocabulary)}`}.
        </p>
      )}
    </>
  );
}

const SPLITS: Record<string, string> = { train: "training", validation: "validation", test: "test" };

function Row({ example }: { example: Example }) {
  if (example.label === null && example.split === null) return null;
  return (
    <>
      <p class="small-label">The example’s row</p>
      <p class="example-note">
        {example.label !== null && (
          <>
            Label <b><UserText text={example.label} limit={60} /></b>
          </>
        )}
        {example.split !== null && `, in the ${SPLITS[example.split] ?? example.split} split`}
        {example.num_tokens !== null && `, ${count(example.num_tokens)} tokens`}.
      </p>
    </>
  );
}

export function Predicted({ example, labels }: { example: Example; labels: string[] }) {
  const { predicted, probability: likely, label, split } = example;
  if (predicted === null) return null;
  const other = labels.length === 2 ? labels.find((name) => name !== predicted) : undefined;
  // One of two or more classes has a probability; a number, a set of labels and the entities of a text have none.
  const bars = likely === null ? [] : [
    { name: <UserText text={predicted} limit={40} />, value: likely, written: probability(likely), isAccent: true },
    {
      name: other === undefined ? "all other classes" : <UserText text={other} limit={40} />,
      value: 1 - likely,
      written: probability(1 - likely),
    },
  ];
  const isRight = label === null || likely === null ? null : label === predicted;
  const verdict = isRight === null ? "" : isRight ? "Right" : "Wrong";
  const isKnown = split === "train" || split === "validation";
  return (
    <>
      <p class="small-label">The prediction for the example</p>
      {likely === null ? (
        <p class="example-note">
          <b><UserText text={predicted} limit={200} /></b>
          {label !== null && <>; the label is <b><UserText text={label} limit={200} /></b></>}.
        </p>
      ) : (
        <Bars bars={bars} label="Probabilities of the classes" />
      )}
      <p class="example-note">
        {verdict}
        {isKnown ? `${verdict ? ", but the" : "The"} text is in the ${SPLITS[split]} split, so this is an illustration and no evidence.` : verdict && ". One text is an illustration; the test split is the evidence."}
      </p>
    </>
  );
}
