// Stop 3: what can be read out after each layer, and what each part adds to the margin.
import { scaleLinear } from "../charts/scale.ts";

import { Track } from "../charts/bars.tsx";
import { Figure, Plot, Table, textWidth } from "../charts/figure.tsx";
import { Fold } from "../fold.tsx";
import { count, percent, probability, signed, significant } from "../format.ts";
import { UserText } from "../text.tsx";
import type { PredictionTrace, Readout } from "../trace.ts";
import { agrees, contributionLogits, firstDecodable, largestDifference, marginSteps, rivalOf, rivalsOf } from "./arithmetic.ts";
import { AttentionFold } from "./attention.tsx";
import { addedWriter, componentName, difference, layerName, plainText } from "./figures.ts";
import { Holds, Stop } from "./stop.tsx";
import type { Selection } from "./tokens.tsx";

export function LayersStop({ prediction, selected, onSelect }: { prediction: PredictionTrace } & Selection) {
  const { readouts, contributions, attention } = prediction;
  const layers = Math.max(0, ...readouts.map(({ layer }) => layer));
  return (
    <Stop
      number={3}
      title="Layers"
      note={`The tokens are mixed with each other ${["never", "once", "twice"][layers] ?? `${layers} times`}; each part adds to one running sum.`}
      check={<SumCheck prediction={prediction} />}
    >
      {readouts.length > 0 && <ReadoutFigure prediction={prediction} />}
      {contributions.length > 0 && <WaterfallFigure prediction={prediction} />}
      {contributions.length === 0 && prediction.contributions_note !== null && (
        <p class="note">{prediction.contributions_note}</p>
      )}
      {attention && (
        <AttentionFold attention={attention} tokens={prediction.tokens} selected={selected} onSelect={onSelect} />
      )}
    </Stop>
  );
}

function SumCheck({ prediction }: { prediction: PredictionTrace }) {
  const { contributions, head } = prediction;
  if (contributions.length === 0) return null;
  const sum = contributionLogits(contributions, head.logits.length);
  return (
    <Holds isOk={agrees(sum, head.logits)}>
      the parts sum to the logits, added up in this browser, difference{" "}
      {difference(largestDifference(sum, head.logits))}
    </Holds>
  );
}

function ReadoutFigure({ prediction }: { prediction: PredictionTrace }) {
  const { readouts, decision } = prediction;
  if (prediction.task === "regression") return <NumberReadouts prediction={prediction} />;
  const label = prediction.task === "multilabel" ? (prediction.label_names[decision.index] ?? "") : decision.label;
  const hasProbes = readouts.some(({ probe }) => probe !== null);
  return (
    <Figure title="What can be read out after each layer" sentence={readoutSentence(readouts)}>
      <table class="readouts">
        <caption class="unseen">Read-outs of the label after each layer, beside the controls of the probes</caption>
        <thead>
          <tr>
            <th scope="col" rowSpan={hasProbes ? 2 : 1}>
              After
            </th>
            <th scope={hasProbes ? "colgroup" : "col"} colSpan={hasProbes ? 2 : 1}>
              Probability of “
              <UserText text={label} limit={40} />”
            </th>
            {hasProbes && (
              <th scope="colgroup" colSpan={3}>
                Probe right on validation texts
              </th>
            )}
          </tr>
          {hasProbes && (
            <tr>
              <th scope="col">by the head</th>
              <th scope="col">by a trained probe</th>
              <th scope="col" class="number">trained</th>
              <th scope="col" class="number">shuffled labels</th>
              <th scope="col" class="number">random weights</th>
            </tr>
          )}
        </thead>
        <tbody>
          {readouts.map((readout) => (
            <ReadoutRow readout={readout} label={decision.index} hasProbes={hasProbes} />
          ))}
        </tbody>
      </table>
    </Figure>
  );
}

/** The number that each layer gives, in the units of the file. */
function NumberReadouts({ prediction }: { prediction: PredictionTrace }) {
  const { mean, deviation } = prediction.decision;
  return (
    <Figure
      title="What can be read out after each layer"
      sentence="The head was trained for the last layer only, so what it says earlier is a guess."
    >
      <Table
        caption="The predicted number after each layer"
        rows={prediction.readouts}
        columns={[
          { name: "After", value: ({ layer }) => layerName(layer) },
          { name: "Number", value: ({ logits }) => significant((mean ?? 0) + (deviation ?? 1) * (logits[0] ?? 0), 4), isNumber: true },
        ]}
      />
    </Figure>
  );
}

function ReadoutRow({ readout, label, hasProbes }: { readout: Readout; label: number; hasProbes: boolean }) {
  const { probe } = readout;
  return (
    <tr>
      <th scope="row">{layerName(readout.layer)}</th>
      <td class="meter" data-name="by the head">
        <Meter value={readout.probabilities[label]} />
      </td>
      {hasProbes && (
        <>
          <td class="meter" data-name="by a probe">
            <Meter value={probe?.probabilities[label]} />
          </td>
          <td class="number" data-name="trained">{probe ? percent(probe.validation_accuracy) : "–"}</td>
          <td class="number" data-name="shuffled labels">{probe ? percent(probe.shuffled_accuracy) : "–"}</td>
          <td class="number" data-name="random weights">{probe ? percent(probe.random_weights_accuracy) : "–"}</td>
        </>
      )}
    </tr>
  );
}

function Meter({ value }: { value: number | undefined }) {
  if (value === undefined) return <>–</>;
  return (
    <span class="meter-line">
      <Track value={value} />
      <span>{probability(value)}</span>
    </span>
  );
}

/** Where the label can be decoded from, as far as the probe beats its controls; not where the model decides. */
function readoutSentence(readouts: readonly Readout[]): string {
  const caveat = "The head was trained for the last layer only, so what it says earlier is a guess.";
  const probes = readouts.flatMap(({ probe }) => (probe ? [probe] : []));
  if (probes.length === 0) return `${caveat} No probes were trained for this file.`;
  const first = firstDecodable(readouts);
  if (first === null) {
    return `${caveat} No probe beats both of its controls measurably, so the label is not shown to be decodable here.`;
  }
  const { layer, probe } = first;
  const control = Math.max(probe.shuffled_accuracy, probe.random_weights_accuracy);
  return (
    `The label is decodable ${layer === 0 ? "from the embedding" : `after ${layerName(layer)}`}: a probe there is right on ` +
    `${percent(probe.validation_accuracy)} of ${count(probe.n)} validation texts, its best control on ${percent(control)}. ` +
    `That says what can be read there, and not that the model uses it. ${caveat}`
  );
}

const ROW = 23;
const VALUE_WIDTH = 52;

export function WaterfallFigure({ prediction }: { prediction: PredictionTrace }) {
  const { contributions, decision, head, label_names: names } = prediction;
  const rival = rivalOf(prediction);
  const isNumber = prediction.task === "regression";
  const unit = decision.deviation ?? 1; // a number is shown in the units of the file
  const scaled = contributions.map(({ name, logits }) => ({ name, logits: logits.map((logit) => unit * logit) }));
  const steps = marginSteps(scaled, decision.index, rival);
  const margin = unit * ((head.logits[decision.index] ?? 0) - (rival === null ? 0 : (head.logits[rival] ?? 0)));
  const total = isNumber ? "from the mean" : rival === null ? "logit" : "margin";
  const shown = [decision.index, ...rivalsOf(head.logits, decision.index)];
  const left = Math.max(...steps.map(({ name }) => textWidth(componentName(name)))) + 10;
  const write = addedWriter(isNumber);
  return (
    <Figure
      title={`What each part adds to the ${isNumber ? "number" : total}`}
      sentence={isNumber ? (
        <>The parts and the mean of the training rows, {significant(decision.mean ?? 0, 4)}, make the prediction.</>
      ) : rival === null ? (
        <>The logit of “<UserText text={names[decision.index] ?? ""} limit={40} />”. Blue speaks for the label, grey against.</>
      ) : (
        <>
          The margin is the logit of “
          <UserText text={names[decision.index] ?? ""} limit={40} />” minus that of “
          <UserText text={names[rival] ?? ""} limit={40} />”, its nearest rival. Blue speaks for the label, grey against.
        </>
      )}
    >
      <Plot
        height={(steps.length + 1) * ROW + 8}
        label={`The parts sum to ${write(margin)}; the numbers are in the table below.`}
        draw={(width) => <Waterfall steps={steps} margin={margin} total={total} write={write} width={width} left={left} />}
      />
      <Fold name={prediction.task === "classification" ? "Table, per class" : "Table of the parts"}>
        <Table
          caption={`Contribution of each part to the ${isNumber ? "number" : "logits"}`}
          rows={[...scaled, { name: isNumber ? total : "logit", logits: head.logits.map((logit) => unit * logit) }]}
          columns={[
            { name: "Part", value: (part) => componentName(part.name) },
            ...shown.map((label) => ({
              name: isNumber ? "Number" : plainText(names[label] ?? String(label), 24),
              value: (part: { logits: number[] }) => write(part.logits[label] ?? 0, 3),
              isNumber: true,
            })),
            ...(rival === null
              ? []
              : [
                  {
                    name: "Margin",
                    value: (part: { logits: number[] }) => signed((part.logits[decision.index] ?? 0) - (part.logits[rival] ?? 0), 3),
                    isNumber: true,
                  },
                ]),
          ]}
        />
        {names.length > shown.length && (
          <p class="note">
            {count(shown.length)} of {count(names.length)} classes: the label and its nearest rivals.
          </p>
        )}
      </Fold>
    </Figure>
  );
}

interface WaterfallProps {
  steps: { name: string; from: number; value: number }[];
  margin: number;
  total: string;
  write: (value: number) => string;
  width: number;
  left: number;
}

function Waterfall({ steps, margin, total, write, width, left }: WaterfallProps) {
  const ends = steps.flatMap(({ from, value }) => [from, from + value]);
  const rows = [...steps, { name: total, from: 0, value: margin }];
  const room = Math.max(VALUE_WIDTH, ...rows.map(({ value }) => textWidth(write(value)) + 18));
  const x = scaleLinear([Math.min(0, ...ends), Math.max(0, ...ends)], [left + room, width - room]);
  const bottom = rows.length * ROW + 4;
  return (
    <>
      <line class="axis" x1={x(0)} x2={x(0)} y1={0} y2={bottom} />
      {rows.map(({ name, from, value }, index) => {
        const [start, end] = [x(Math.min(from, from + value)), x(Math.max(from, from + value))];
        const top = index * ROW + 3;
        const isTotal = index === steps.length;
        return (
          <g>
            <text class={isTotal ? "strong" : "name"} x={0} y={top + ROW / 2 + 1}>
              {componentName(name)}
            </text>
            <rect
              class={isTotal ? "total" : value >= 0 ? "for" : "against"}
              x={start}
              width={Math.max(1, end - start)}
              y={top}
              height={ROW - 8}
            />
            {!isTotal && (
              <line class="joint" x1={x(from + value)} x2={x(from + value)} y1={top} y2={top + ROW + (ROW - 8)} />
            )}
            <text
              class={isTotal ? "strong halo" : "ink halo"}
              x={value >= 0 ? end + 6 : start - 6}
              y={top + ROW / 2 + 1}
              text-anchor={value >= 0 ? "start" : "end"}
            >
              {write(value)}
            </text>
          </g>
        );
      })}
    </>
  );
}

