// One prediction: its text, the five stops, that of linear models if there are some, and the reasons.
import { useState } from "preact/hooks";

import { Marked } from "../errors/marked.tsx";
import { count, counted, probability } from "../format.ts";
import { Quoted, UserText } from "../text.tsx";
import type { PredictionTrace } from "../trace.ts";
import { countWindows, returned } from "./arithmetic.ts";
import { DecisionStop } from "./decision.tsx";
import { EmbeddingStop } from "./embedding.tsx";
import { HeadStop } from "./head.tsx";
import { LayersStop } from "./layers.tsx";
import { ReasonsPart } from "./reasons.tsx";
import { StackStop } from "./stack.tsx";
import { TokenStop } from "./tokens.tsx";

/** A text of more characters is set smaller. */
const LONG = 300;

interface Shown {
  prediction: PredictionTrace;
  isRedacted: boolean;
  /** the reasons are still being computed */
  isPending?: boolean;
}

export function PredictionView({ prediction, isRedacted, isPending = false }: Shown) {
  const [selected, setSelected] = useState(() => firstWord(prediction));
  const selection = { selected, onSelect: setSelected };
  return (
    <>
      <p class={prediction.text.length > LONG ? "prediction-text is-long" : "prediction-text"}>
        {prediction.task === "tokens" && !isRedacted ? (
          <Marked text={prediction.text} entities={prediction.entities} limit={700} />
        ) : (
          <Quoted text={prediction.text} limit={700} />
        )}
      </p>
      {prediction.text_pair !== null && (
        <p class={prediction.text_pair.length > LONG ? "prediction-text is-long" : "prediction-text"}>
          <Quoted text={prediction.text_pair} limit={700} />
        </p>
      )}
      <PredictionMeta prediction={prediction} isRedacted={isRedacted} />
      <div class="spine journey">
        <TokenStop prediction={prediction} isRedacted={isRedacted} {...selection} />
        <EmbeddingStop prediction={prediction} isRedacted={isRedacted} selected={selected} />
        <LayersStop prediction={prediction} {...selection} />
        <HeadStop prediction={prediction} />
        <DecisionStop prediction={prediction} />
        {prediction.stack && <StackStop prediction={prediction} stack={prediction.stack} />}
      </div>
      <ReasonsPart prediction={prediction} isPending={isPending} />
    </>
  );
}

/** The token to begin with: the first of the word that weighs most, or else the first one that is not special. */
function firstWord({ tokens, reasons }: PredictionTrace): number {
  const weights = (reasons?.occlusion ?? []).map(Math.abs);
  const heaviest = weights.indexOf(Math.max(...weights));
  const found = tokens.findIndex((token) => !token.is_special && token.word === heaviest);
  return Math.max(0, found >= 0 ? found : tokens.findIndex((token) => !token.is_special));
}

/** How many entities are marked above, and the word that is taken apart; without the text nothing is marked. */
export function Found({ prediction: { entities, word, text }, isRedacted }: Omit<Shown, "isPending">) {
  if (isRedacted) return <>{counted(entities.length, "entity", "entities")}</>;
  const surface = word && [...text].slice(word.start, word.end).join("");
  return (
    <>
      {counted(entities.length, "entity", "entities")}, marked above{surface && <>; taken apart is “<UserText text={surface} limit={40} />”</>}
    </>
  );
}

function cutSentence(prediction: PredictionTrace): string {
  if (prediction.word !== null) return "The text is longer than the model reads at once, so only the part around this word is shown.";
  const windows = countWindows(prediction);
  return windows > 1
    ? `The text is longer than the ${count(windows)} windows in which the model reads it, so stretches between them were left out.`
    : "The text is longer than the model reads, so its middle was left out.";
}

function PredictionMeta({ prediction, isRedacted }: Omit<Shown, "isPending">) {
  const { task, true_label: truth, row, slice } = prediction;
  const { label, probability: likelihood, isRight } = returned(prediction);
  return (
    <p class="prediction-meta">
      {truth !== null && (
        <>
          Label “<UserText text={truth} limit={60} />”,{" "}
        </>
      )}
      {truth === null ? "Predicted" : "predicted"} {task === "tokens" ? <Found prediction={prediction} isRedacted={isRedacted} /> : task === "regression" ? <UserText text={label} limit={60} /> : <>“<UserText text={label} limit={60} />”</>}
      {likelihood !== null && ` with ${probability(likelihood)}`}
      {isRight !== null && (isRight ? ": right" : ": wrong")}.
      {prediction.word && ` The layers below are those of the word that is labelled ${label}.`}
      {row !== null && ` Row ${count(row)} of its file, in the test split`}
      {slice !== null && (
        <>
          {row === null ? " Slice" : ", slice"} “<UserText text={slice} limit={60} />”
        </>
      )}
      {(row !== null || slice !== null) && "."}
      {prediction.was_cut && ` ${cutSentence(prediction)}`}
    </p>
  );
}
