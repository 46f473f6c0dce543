// Where the reader answers: a radio row with its reason, or a field for a number with its unit.
import { significant } from "../format.ts";
import type { Option, Question } from "../trace.ts";
import { Misconception } from "./feedback.tsx";
import { QuizText } from "./quiz_text.tsx";
import { unitOf } from "./unit.ts";

export function OptionRow(props: {
  option: Option;
  name: string;
  isChosen: boolean;
  isAnswered: boolean;
  onChoose: () => void;
}) {
  const { option, isChosen, isAnswered } = props;
  const state = isAnswered ? `${option.is_right ? " is-right" : ""}${isChosen ? " is-mine" : ""}` : "";
  return (
    <label class={`option${state}`}>
      <input type="radio" name={props.name} checked={isChosen} onChange={props.onChoose} />
      <span class="option-text">
        <span class="said">
          <QuizText text={option.text} />
        </span>
        {isAnswered && <OptionVerdict isRight={option.is_right} isMine={isChosen} />}
      </span>
      {isAnswered && (
        <span class="why">
          <QuizText text={option.why} />
          {option.misconception && !option.is_right && <Misconception text={option.misconception} />}
        </span>
      )}
    </label>
  );
}

function OptionVerdict({ isRight: right, isMine }: { isRight: boolean; isMine: boolean }) {
  if (!right && !isMine) return null;
  return <span class="option-verdict">{right ? (isMine ? "right, your answer" : "right") : "your answer"}</span>;
}

export function NumberField(props: {
  question: Question;
  id: string;
  typed: string;
  isAnswered: boolean;
  isInvalid: boolean;
  onType: (text: string) => void;
}) {
  const { question, id } = props;
  const tolerance = question.tolerance ? `within ${significant(question.tolerance)}` : "exactly";
  return (
    <p class="number-field">
      <label for={`${id}-number`}>Your answer</label>
      <input
        id={`${id}-number`}
        inputMode="decimal"
        autocomplete="off"
        value={props.typed}
        readOnly={props.isAnswered}
        aria-invalid={props.isInvalid}
        aria-describedby={`${id}-prompt ${id}-unit ${id}-complaint`}
        onInput={(event) => props.onType(event.currentTarget.value)}
      />
      <span id={`${id}-unit`}>
        {question.unit !== null && `${unitOf(question).trim()}, `}
        {tolerance}
      </span>
    </p>
  );
}
