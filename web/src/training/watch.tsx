import { scaleLinear } from "../charts/scale.ts";
import { useEffect, useState } from "preact/hooks";

import { Bars } from "../charts/bars.tsx";
import { Plot } from "../charts/figure.tsx";
import { areaPath, linePath, type Place } from "../charts/path.ts";
import { Sparkline } from "../charts/small.tsx";
import { capital, count, counted, nats, probability } from "../format.ts";
import { Part } from "../section.tsx";
import { MaskedText, UserText } from "../text.tsx";
import type { Evaluation, Phase, RunTrace, WatchedSentence } from "../trace.ts";
import { epochs } from "./charts.tsx";

const SECONDS_PER_FRAME = 0.7;

/** Sentences with a hidden word, filled in again at every evaluation; a slider moves through training. */
export function Watch({ trace }: { trace: RunTrace }) {
  const sentences = trace.watched.filter((sentence) => sentence.moments.length > 0);
  const moments = sentences[0]?.moments ?? [];
  const [chosen, setChosen] = useState<number | null>(null);
  const at = Math.min(chosen ?? moments.length - 1, moments.length - 1);
  const { isPlaying, isStepping, toggle } = usePlayer(at, moments.length, setChosen);
  const evaluations = trace.phases.pretrain?.evaluations ?? [];
  const here = evaluations.find((row) => row.step === moments[at]?.step);
  const known = sentences.filter((sentence) => sentence.is_in_training).length;
  const also = known === 0 ? "" : ` ${capital(counted(known, "of them also stands", "of them also stand"))} in training documents.`;
  return (
    <Part
      id="watch"
      title="Watch it learn"
      sentence={`${capital(counted(sentences.length, "sentence"))} with a word hidden, predicted again ${moments.length === 1 ? "at the first evaluation" : `at each of ${counted(moments.length, "evaluation")}`}; the line under each is the probability of the hidden word.${also}`}
    >
      <div class="player">
        <button type="button" class="button" onClick={toggle} disabled={moments.length < 2}>
          {isStepping ? "Next" : isPlaying ? "Pause" : "Play"}
        </button>
        <div class="player-track">
          <Plot class="player-curve" height={34} draw={(width) => <Curve evaluations={evaluations} steps={moments.map((moment) => moment.step)} at={at} width={width} />} />
          <input
            type="range"
            aria-label="Evaluation of pre-training"
            min={0}
            max={Math.max(0, moments.length - 1)}
            step={1}
            value={at}
            aria-valuetext={place(here, moments[at]?.step, trace.phases.pretrain)}
            onInput={(event) => setChosen(Number(event.currentTarget.value))}
          />
        </div>
        <output aria-live="off">
          <Place here={here} step={moments[at]?.step} phase={trace.phases.pretrain} />
        </output>
      </div>
      <ul class="watched">
        {sentences.map((sentence) => (
          <Watched sentence={sentence} at={at} isRedacted={trace.is_redacted} />
        ))}
      </ul>
    </Part>
  );
}

/** Plays from the slider to the end; with reduced motion, one press is one step. */
function usePlayer(at: number, length: number, move: (to: number) => void) {
  const [isPlaying, setPlaying] = useState(false);
  const isStepping = useReducedMotion();
  useEffect(() => {
    if (!isPlaying) return;
    const timer = setTimeout(() => (at + 1 < length ? move(at + 1) : setPlaying(false)), 1000 * SECONDS_PER_FRAME);
    return () => clearTimeout(timer);
  }, [isPlaying, at, length]);
  const toggle = () => {
    const isAtEnd = at >= length - 1;
    if (isStepping) return move(isAtEnd ? 0 : at + 1);
    if (!isPlaying && isAtEnd) move(0);
    setPlaying(!isPlaying);
  };
  return { isPlaying: isPlaying && !isStepping, isStepping, toggle };
}

function useReducedMotion(): boolean {
  const [query] = useState(() => matchMedia("(prefers-reduced-motion: reduce)"));
  const [isReduced, setReduced] = useState(query.matches);
  useEffect(() => {
    const change = () => setReduced(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, [query]);
  return isReduced;
}

/** The steps of pre-training: those that are planned, since a run that goes on, or was interrupted, has not made all. */
function stepsOf(phase: Phase | null): number | undefined {
  return phase?.plan?.steps ?? phase?.evaluations.at(-1)?.step;
}

export function place(here: Evaluation | undefined, step: number | undefined, phase: Phase | null): string {
  const steps = stepsOf(phase);
  const of = steps === undefined ? "" : ` of ${count(steps)}`;
  const more = here ? `, epoch ${epochs(here.epoch)}, validation loss ${nats(here.loss)}` : "";
  return `step ${count(step ?? 0)}${of}${more}`;
}

function Place({ here, step, phase }: { here: Evaluation | undefined; step: number | undefined; phase: Phase | null }) {
  const [first, ...rest] = place(here, step, phase).split(/(?= of |, )/);
  const tokens = here?.tokens == null ? "" : `, ${count(here.tokens)} tokens seen`;
  return (
    <>
      <b>{first}</b>
      {rest.join("")}
      {tokens}
    </>
  );
}

/** The loss over the slider, in the accent up to where it stands. Evaluations are spaced evenly, as the slider is. */
function Curve({ evaluations, steps, at, width }: { evaluations: Evaluation[]; steps: number[]; at: number; width: number }) {
  const losses = steps.map((step) => evaluations.find((row) => row.step === step)?.loss);
  const known = losses.flatMap((loss, index) => (loss === undefined ? [] : [{ index, loss }]));
  const thumb = 9; // the middle of the slider's thumb does not reach the ends of its track
  const x = scaleLinear([0, Math.max(1, steps.length - 1)], [thumb, width - thumb]);
  const y = scaleLinear([0, Math.max(1, ...known.map((point) => point.loss))], [26, 2]);
  const places = known.map((point): Place => [x(point.index), y(point.loss)]);
  const done = places.filter((_, index) => (known[index]?.index ?? 0) <= at);
  const here = losses[at];
  return (
    <>
      <path class="curve-fill" d={areaPath(places, places.map(([place]) => [place, 26]))} />
      <path class="curve-rest" d={linePath(places)} />
      <path class="curve-done" d={linePath(done)} />
      {steps.map((_, index) => (
        <line class={index <= at ? "curve-tick is-done" : "curve-tick"} x1={x(index)} x2={x(index)} y1={26} y2={31} />
      ))}
      {here !== undefined && <circle class="accent-dot" cx={x(at)} cy={y(here)} r={3} />}
    </>
  );
}

function Watched({ sentence, at, isRedacted }: { sentence: WatchedSentence; at: number; isRedacted: boolean }) {
  const moment = sentence.moments[Math.min(at, sentence.moments.length - 1)];
  if (!moment) return null;
  const top = moment.predictions[0];
  // Without the texts all words are the same sign: then the rank tells which guess is the hidden word.
  const isHidden = (word: string, index: number) => (isRedacted ? moment.rank === index + 1 : word === sentence.true_word);
  const isHit = top !== undefined && isHidden(top.word, 0);
  return (
    <li>
      <p class="sentence">
        <MaskedText
          text={sentence.masked_text}
          slot={<span class={isHit ? "slot is-hit" : "slot"}>{top ? <UserText text={top.word} limit={30} /> : "?"}</span>}
        />
      </p>
      <Bars
        label="Likeliest words for the gap"
        bars={moment.predictions.slice(0, 5).map((guess, index) => ({
          key: index,
          name: <UserText text={guess.word} limit={30} />,
          value: guess.probability,
          written: probability(guess.probability),
          isAccent: isHidden(guess.word, index),
        }))}
      />
      <div>
        <Sparkline values={sentence.moments.map((each) => each.probability)} at={at} />
        <p class="reading">
          Hidden: <b><UserText text={sentence.true_word} limit={40} /></b>
          {moment.probability !== null && `, ${probability(moment.probability)}`}
          {moment.rank !== null && `, rank ${count(moment.rank)}`}.
          {sentence.is_in_training && " The sentence also stands in training documents."}
        </p>
      </div>
    </li>
  );
}
