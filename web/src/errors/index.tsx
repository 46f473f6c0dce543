// Section 6: where the model is wrong, and whether its probabilities can be taken at their word.
import { count, counted, THIN_SPACE } from "../format.ts";
import { deliveredTest, hasStack } from "../models.ts";
import { Lead, Part } from "../section.tsx";
import type { Phase, RunTrace, TestErrors } from "../trace.ts";
import { CalibrationPlots, calibrationSentence } from "./calibration.tsx";
import { ConfusionFigure } from "./confusion.tsx";
import { rightIn, totalOf, wilson } from "./counts.ts";
import "./errors.css";
import { SurestMistakes } from "./mistakes.tsx";
import { rate, rateRange } from "./rates.ts";
import { SliceFigure } from "./slices.tsx";
import { Entities, LabelSets, Scores } from "./task_errors.tsx";

export function Errors({ trace }: { trace: RunTrace }) {
  const { errors } = trace;
  if (errors === null) {
    const isExplained = trace.missing.some(({ section }) => section === "errors");
    return isExplained ? null : <p class="note">No model has been tested on the test split yet.</p>;
  }
  const alone = hasStack(trace.comparison) ? " These are the errors of the network, without the linear models that are stacked on it." : "";
  const shared = { errors, alone, isRedacted: trace.is_redacted };
  if (errors.label_sets) return <LabelSets found={errors.label_sets} {...shared} />;
  if (errors.scores) return <Scores found={errors.scores} {...shared} />;
  if (errors.entities) return <Entities found={errors.entities} {...shared} />;
  return (
    <div class="errors">
      <Lead>{lead(errors, alone, trace.phases.finetune)}</Lead>
      <ConfusionFigure errors={errors} isRedacted={trace.is_redacted} />
      {(errors.slices.length > 0 || errors.examples.length > 0) && (
        <div class="g2 errors-more">
          {errors.slices.length > 0 && <SliceFigure errors={errors} test={deliveredTest(trace.phases.finetune)} />}
          <SurestMistakes errors={errors} isRedacted={trace.is_redacted} />
        </div>
      )}
      {errors.calibration.length > 0 && (
        <Part title="Does 90 % mean 90 %?" sentence={calibrationSentence(errors.calibration, trace)}>
          <CalibrationPlots calibration={errors.calibration} trace={trace} />
        </Part>
      )}
    </div>
  );
}

function lead(errors: TestErrors, alone: string, phase: Phase | null): string {
  const test = deliveredTest(phase);
  const averaged = phase?.averaged_trials.length ?? 0;
  const total = totalOf(errors.confusion);
  const wrong = total - rightIn(errors.confusion);
  if (total === 0) return "The test split has no rows.";
  const [low, high] = test ? [1 - test.high, 1 - test.low] : wilson(wrong, total);
  const interval = `with a 95${THIN_SPACE}% interval of ${rateRange(low, high)}`;
  const which = phase?.is_self_trained ? "the student, which also learned from the corpus"
    : averaged ? `the mean of the weights of ${averaged} seeds` : errors.seed === null ? "" : `the one of seed ${errors.seed}`;
  const seed = which && ` The ${alone ? "network" : "model"} is ${which}.`;
  if (wrong === 0) return `None of ${counted(total, "test text")} is wrong, ${interval}.${alone}${seed}`;
  return `${count(wrong)} of ${counted(total, "test text")} ${wrong === 1 ? "is" : "are"} wrong, ${rate(wrong / total)} ${interval}.${alone}${seed}`;
}
