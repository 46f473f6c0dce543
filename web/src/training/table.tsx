import { Fragment } from "preact";
import { useRef, useState } from "preact/hooks";

import { Glyph } from "../charts/small.tsx";
import { focusAdded } from "../focus.ts";
import { clock, count, fixed, nats, NONE, or, percent, significant, typeset } from "../format.ts";
import { metricNoise, metricTitle, writeMetric } from "../metric.ts";
import { Sentence } from "../text.tsx";
import type { Evaluation, Observation, Phase } from "../trace.ts";
import { epochDecimals, largestEpoch, phaseTitle, predictedTokens } from "./charts.tsx";

const [LONG, ENDS] = [60, 15];

/** Every evaluation of the phases, one after another; an observation opens its numbers. */
export function TraceTable({ phases, caption }: { phases: Phase[]; caption: string }) {
  return (
    <table class="trace-table">
      <caption class="unseen">{caption}</caption>
      <thead>
        <tr class="groups">
          <th scope="col" rowSpan={2} class="number">
            Epoch
          </th>
          <th scope="col" rowSpan={2} class="number">
            Step
          </th>
          <th scope="colgroup" colSpan={2} class="group">
            <span>Training</span>
          </th>
          <th scope="colgroup" colSpan={3} class="group">
            <span>Validation</span>
          </th>
          <th scope="col" rowSpan={2} class="number">
            Time
          </th>
          <th scope="col" rowSpan={2} class="observation">
            Observation
          </th>
        </tr>
        <tr>
          <th scope="col" class="number">
            loss
          </th>
          <th scope="col" class="number">
            accuracy
          </th>
          <th scope="col" class="number">
            loss
          </th>
          <th scope="col" class="number">
            {[...new Set(phases.map((phase) => metricTitle(phase.metric)))].join(", ")}
          </th>
          <th scope="col" class="glyph-cell">
            {phases.every((phase) => phase.metric === "accuracy") ? "0 to 100 %" : "0 to 1"}
          </th>
        </tr>
      </thead>
      {phases.map((phase) => (
        <PhaseRows key={phase.stage} phase={phase} />
      ))}
    </table>
  );
}

function PhaseRows({ phase }: { phase: Phase }) {
  const [isWhole, setWhole] = useState(false);
  const body = useRef<HTMLTableSectionElement>(null);
  const rows = phase.evaluations;
  const guess = phase.accuracy_references[0];
  const isCut = rows.length > LONG && !isWhole;
  const between = rows.length - 2 * ENDS;
  const decimals = epochDecimals(largestEpoch(phase));
  const showWhole = () => {
    setWhole(true);
    focusAdded(() => body.current?.querySelectorAll<HTMLElement>("tr:not(.phase-row, .evidence)")[ENDS]);
  };
  return (
    <tbody ref={body}>
      <tr class="phase-row">
        <th scope="rowgroup" colSpan={9}>
          {phaseTitle(phase)} <small>{measuredOn(phase, guess?.name)}</small>
        </th>
      </tr>
      {rows.map((row, index) => {
        if (isCut && index >= ENDS && index < rows.length - ENDS) {
          if (index > ENDS) return null;
          return (
            <tr class="cut">
              <td colSpan={9}>
                <button type="button" class="plain-button" onClick={showWhole}>
                  Show the {count(between)} evaluations between
                </button>
              </td>
            </tr>
          );
        }
        return <EvaluationRow key={row.step} row={row} decimals={decimals} metric={phase.metric} guess={guess?.value ?? null} isKept={row.is_best && phase.stage !== "pretrain"} id={`${phase.stage}-${row.step}`} />;
      })}
    </tbody>
  );
}

/** What the figures of the evaluations are measured on. */
export function measuredOn(phase: Phase, guess: string | undefined): string {
  const n = phase.evaluations.at(-1)?.n;
  const unit = phase.unit === "texts" || phase.unit === "rows" ? `validation ${phase.unit}` : predictedTokens(phase);
  return [n == null ? null : `of ${count(n)} ${unit}`, guess && `the dotted mark is the ${guess}`].filter((part) => part).join("; ");
}

/** Below a loss: of a hybrid model that of the next token, and of both kinds its bits per byte. */
function NextToken({ row }: { row: Evaluation }) {
  const found = row.next_tokens;
  if (!found) return null;
  const loss = found.loss === row.loss ? "" : `next token ${nats(found.loss)}`;
  const bits = found.bits_per_byte === null ? "" : `${significant(found.bits_per_byte, 3)} bits/byte`;
  return <small class="next-token">{[loss, bits].filter((part) => part).join(", ")}</small>;
}

function EvaluationRow(props: { row: Evaluation; decimals: number; metric: string; guess: number | null; isKept: boolean; id: string }) {
  const { row, id } = props;
  const [isOpen, setOpen] = useState(false);
  const summary = typeset(row.summary) || NONE;
  return (
    <Fragment>
      <tr class={props.isKept ? "is-kept" : undefined}>
        <th scope="row" class="number epoch">
          {fixed(row.epoch, props.decimals)}
        </th>
        <td class="number step">{count(row.step)}</td>
        <td class="number train-loss">{or(row.train_loss, nats)}</td>
        <td class="number train-accuracy">{or(row.train_accuracy, (value) => percent(value))}</td>
        <td class="number loss">
          {nats(row.loss)}
          <NextToken row={row} />
        </td>
        <td class="number accuracy">
          {writeMetric(props.metric, row.score)} <span class="noise">{metricNoise(props.metric, row.score_noise)}</span>
        </td>
        <td class="glyph-cell">
          <Glyph value={Math.max(0, row.score)} guess={props.guess} />
        </td>
        <td class="number time">{or(row.elapsed_seconds, clock)}</td>
        <td class="observation">
          {row.observations.length === 0 ? (
            summary
          ) : (
            <button type="button" class="opener" aria-expanded={isOpen} aria-controls={id} onClick={() => setOpen(!isOpen)}>
              <span>{summary}</span>
            </button>
          )}
        </td>
      </tr>
      {isOpen && (
        <tr class="evidence" id={id}>
          <td colSpan={9}>
            {row.observations.map((observation) => (
              <Evidence observation={observation} />
            ))}
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** The rule behind a sentence, its numbers, and where in the document they stand. */
export function Evidence({ observation }: { observation: Pick<Observation, "rule" | "sentence" | "numbers" | "pointers"> }) {
  return (
    <dl class="evidence-list">
      <dt>sentence</dt>
      <dd>
        <Sentence text={typeset(observation.sentence)} />
      </dd>
      <dt>rule</dt>
      <dd>{observation.rule.replaceAll("_", " ")}</dd>
      <dt>numbers</dt>
      <dd>
        {Object.entries(observation.numbers)
          .map(([name, value]) => `${name.replaceAll("_", " ")} ${significant(value, 4)}`)
          .join(", ") || NONE}
      </dd>
      <dt>read at</dt>
      <dd>
        {observation.pointers.map((pointer) => (
          <code>{pointer}</code>
        ))}
      </dd>
    </dl>
  );
}
