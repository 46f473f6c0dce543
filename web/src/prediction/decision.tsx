// Stop 5: from logits to probabilities, the label, and what would change it.
import { Fragment } from "preact";

import { Bars } from "../charts/bars.tsx";
import { Plot, Table } from "../charts/figure.tsx";
import { counted, count, fixed, points, probability, significant } from "../format.ts";
import { LEFT_OUT, Plain, shorten, UserText } from "../text.tsx";
import type { PredictionTrace } from "../trace.ts";
import { agrees, argmax, gapsBefore, largestDifference, rivalsOf, sigmoid, softmax } from "./arithmetic.ts";
import { difference, plainText, plainWidth } from "./figures.ts";
import { Holds, Stop } from "./stop.tsx";

export function DecisionStop({ prediction }: { prediction: PredictionTrace }) {
  const { decision, head, label_names: names } = prediction;
  if (prediction.task === "multilabel") return <LabelsStop prediction={prediction} />;
  if (prediction.task === "regression") return <NumberStop prediction={prediction} />;
  const probabilities = softmax(head.logits);
  const isTwo = names.length === 2;
  const isOk = agrees(probabilities, decision.probabilities, 1e-4) && argmax(probabilities) === decision.index;
  return (
    <Stop
      number={5}
      isLast={!prediction.stack}
      title="Decision"
      note={
        isTwo
          ? "Softmax turns the two logits into probabilities; the label with more than half wins."
          : `Softmax turns the ${count(names.length)} logits into probabilities; the largest wins.${prediction.task === "tokens" ? " The entities come from the likeliest sequence of labels over all words, so a word may get another label in it." : ""}`
      }
      check={
        <Holds isOk={isOk}>
          softmax and label computed again in this browser, difference{" "}
          {difference(largestDifference(probabilities, decision.probabilities))}
        </Holds>
      }
    >
      <div class="decision">
        <p class="decided">
          <UserText text={decision.label} limit={80} />, {probability(decision.probability)}
          <small>{marginSentence(prediction)}</small>
        </p>
        {isTwo ? <TwoClassBar prediction={prediction} /> : <ClassBars prediction={prediction} />}
        <SoftmaxLine prediction={prediction} />
        <FlipSentence prediction={prediction} />
      </div>
    </Stop>
  );
}

/** Several labels: each has a threshold of its own. */
function LabelsStop({ prediction }: { prediction: PredictionTrace }) {
  const { decision, head, label_names: names } = prediction;
  const probabilities = sigmoid(head.logits);
  const above = (index: number) => (decision.probabilities[index] ?? 0) - (decision.thresholds[index] ?? 0.5);
  const order = names.map((_, index) => index).sort((a, b) => above(b) - above(a));
  const predicted = order.filter((index) => above(index) >= 0);
  const isSame = predicted.length === decision.labels.length;
  const shown = order.slice(0, predicted.length + LABELS_BELOW);
  return (
    <Stop
      number={5}
      isLast={!prediction.stack}
      title="Decision"
      note={`A sigmoid turns each of the ${count(names.length)} logits into a probability of its own; a label is predicted where it reaches its threshold, which validation chose.`}
      check={
        <Holds isOk={isSame && agrees(probabilities, decision.probabilities, 1e-4)}>
          sigmoids and labels computed again in this browser, difference{" "}
          {difference(largestDifference(probabilities, decision.probabilities))}
        </Holds>
      }
    >
      <div class="decision">
        <p class="decided">
          <UserText text={decision.label} limit={120} />
          <small>{counted(predicted.length, "label")} of {count(names.length)}.</small>
        </p>
        <Table
          caption="Probability and threshold of each label"
          rows={shown}
          columns={[
            { name: "Label", value: (index) => <UserText text={names[index] ?? ""} limit={40} /> },
            { name: "Probability", value: (index) => probability(decision.probabilities[index] ?? 0), isNumber: true },
            { name: "Threshold", value: (index) => probability(decision.thresholds[index] ?? 0.5), isNumber: true },
            { name: "Predicted", value: (index) => (above(index) >= 0 ? "yes" : "no") },
          ]}
        />
        {names.length > shown.length && (
          <p class="note">The other {counted(names.length - shown.length, "label")} are further below their thresholds.</p>
        )}
        <FlipSentence prediction={prediction} />
      </div>
    </Stop>
  );
}

const LABELS_BELOW = 5;

/** A number: the output, brought back to the units of the file. */
function NumberStop({ prediction }: { prediction: PredictionTrace }) {
  const { decision, head, true_label: truth } = prediction;
  const { mean, deviation, score } = decision;
  const output = head.logits[0] ?? 0;
  const computed = (mean ?? 0) + (deviation ?? 1) * output;
  const unit = Math.max(Math.abs(deviation || 1), Math.abs(mean ?? 0));
  return (
    <Stop
      number={5}
      isLast={!prediction.stack}
      title="Decision"
      note="The output counts deviations from the mean of the training rows; this brings it back to the units of the file."
      check={<Holds isOk={agrees([computed], [score ?? NaN], 1e-4, unit)}>the sum was computed again in this browser</Holds>}
    >
      <div class="decision">
        <p class="decided">
          {significant(score ?? computed, 4)}
          {truth !== null && Number.isFinite(Number(truth)) && (
            <small>
              The label is <UserText text={truth} limit={20} />.
            </small>
          )}
        </p>
        <p class="equation">
          {significant(mean ?? 0, 4)} + {significant(deviation ?? 1, 4)} × {fixed(output, 4)} = <b>{significant(score ?? computed, 4)}</b>
        </p>
      </div>
    </Stop>
  );
}

function marginSentence({ decision, label_names: names }: PredictionTrace) {
  const rival = rivalsOf(decision.probabilities, decision.index, 1)[0];
  if (rival === undefined) return null;
  return (
    <>
      {lead(decision.margin)} points ahead of “
      <UserText text={names[rival] ?? ""} limit={60} />
      ”.
    </>
  );
}

function lead(margin: number): string {
  const text = points(margin).replace("+", "");
  return margin < 1 && text === "100.0" ? "Almost 100" : text;
}

const BAR = { top: 22, height: 30 };

/** The two probabilities on one line with the threshold; a number that does not fit in its part stands below. */
function TwoClassBar({ prediction }: { prediction: PredictionTrace }) {
  const { decision, label_names: names } = prediction;
  const rival = 1 - decision.index;
  const [ours, theirs] = [decision.index, rival].map(
    (index) => `${plainText(names[index] ?? "", 20)} ${probability(decision.probabilities[index] ?? 0)}`,
  ) as [string, string];
  return (
    <Plot
      height={(width) => BAR.top + BAR.height + (plainWidth(ours) + 16 > width * decision.probability ? 38 : 22)}
      label={`${ours}, ${theirs}; the threshold is 50 %.`}
      draw={(width) => {
        const edge = width * decision.probability;
        const hasRoom = width - edge > plainWidth(theirs) + 16;
        const isOursIn = edge > plainWidth(ours) + 16;
        const middle = BAR.top + BAR.height / 2 + 4;
        const below = BAR.top + BAR.height + 16;
        return (
          <>
            <rect class="remainder" x={0} y={BAR.top} width={width} height={BAR.height} />
            <rect class="for" x={0} y={BAR.top} width={edge} height={BAR.height} />
            <text class={isOursIn ? "on-accent" : "ink"} x={isOursIn ? 10 : 0} y={isOursIn ? middle : below}>
              {ours}
            </text>
            <text class="ink" x={width - (hasRoom ? 10 : 0)} y={hasRoom ? middle : below + (isOursIn ? 0 : 16)} text-anchor="end">
              {theirs}
            </text>
            <line class="threshold" x1={width / 2} x2={width / 2} y1={BAR.top - 6} y2={BAR.top + BAR.height + 6} />
            <text x={width / 2} y={12} text-anchor="middle">
              threshold 50 %
            </text>
          </>
        );
      }}
    />
  );
}

function ClassBars({ prediction }: { prediction: PredictionTrace }) {
  const { decision, label_names: names } = prediction;
  const shown = [decision.index, ...rivalsOf(decision.probabilities, decision.index)];
  const rest = names.length - shown.length;
  const remaining = 1 - shown.reduce((sum, index) => sum + (decision.probabilities[index] ?? 0), 0);
  return (
    <>
      <Bars
        label="Probabilities"
        bars={shown.map((index) => ({
          key: index,
          name: <UserText text={names[index] ?? ""} limit={40} />,
          value: decision.probabilities[index] ?? 0,
          written: probability(decision.probabilities[index] ?? 0),
          isAccent: index === decision.index,
        }))}
      />
      {rest > 0 && (
        <p class="note">
          The other {counted(rest, "class", "classes")} together: {probability(Math.max(0, remaining))}.
        </p>
      )}
    </>
  );
}

/** Softmax with the numbers of this text. */
function SoftmaxLine({ prediction }: { prediction: PredictionTrace }) {
  const { decision, head } = prediction;
  const own = head.logits[decision.index] ?? 0;
  const shown = [decision.index, ...rivalsOf(head.logits, decision.index, head.logits.length > 3 ? 1 : 2)];
  const rest = head.logits.length - shown.length;
  return (
    <p class="equation">
      <Power of={own} /> / (
      {shown.map((index, place) => (
        <Fragment key={index}>
          {place > 0 && " + "}
          <Power of={head.logits[index] ?? 0} />
        </Fragment>
      ))}
      {rest > 0 && ` + ${count(rest)} more`}) = <b>{probability(decision.probability)}</b>
    </p>
  );
}

function Power({ of }: { of: number }) {
  return (
    <span class="power">
      e<sup>{fixed(of, 3)}</sup>
    </span>
  );
}

function FlipSentence({ prediction }: { prediction: PredictionTrace }) {
  const { decision, reasons } = prediction;
  const { flip } = decision;
  if (!reasons) return null;
  const isSet = prediction.task === "multilabel";
  if (!flip) {
    const named = isSet && <>whether “<UserText text={prediction.label_names[decision.index] ?? ""} limit={40} />” is predicted</>;
    return <p class="note">None of the maskings tried changes {named || "the label"}.</p>;
  }
  const masked = new Set(flip.words);
  const gaps = gapsBefore([prediction.text, prediction.text_pair ?? ""], reasons.words);
  return (
    <div class="flip">
      <p class="note">
        Masking {counted(flip.words.length, "word")}, boxed below, turns the {isSet ? "labels" : "label"} into{" "}
        <b>
          “<UserText text={flip.label} limit={60} />”
        </b>
        {isSet && <>; “<UserText text={prediction.label_names[decision.index] ?? ""} limit={40} />” then has</>}
        {isSet ? " " : ", "}
        {probability(flip.probability)}. It is the smallest masking found.
      </p>
      <p class="masked-words">
        <bdi dir="auto" class="user">
          {reasons.words.map((word, index) => (
            <Fragment key={index}>
              {gaps[index]}
              {masked.has(index) ? (
                <del>
                  <span>
                    <MaskedWord word={word} />
                  </span>
                </del>
              ) : (
                <MaskedWord word={word} />
              )}
            </Fragment>
          ))}
        </bdi>
      </p>
    </div>
  );
}

/** A part of one run of text, which the browser reorders as a whole where it is written from right to left. */
function MaskedWord({ word }: { word: string }) {
  const [shown, rest] = shorten(word, 40);
  if (word === LEFT_OUT) return <UserText text={word} />;
  return (
    <>
      <Plain text={shown} />
      {rest > 0 && "…"}
    </>
  );
}
