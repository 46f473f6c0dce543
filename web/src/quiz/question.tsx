// One question: a choice with a reason beside every option, or a number with its tolerance.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";

import { scientific, significant, THIN_SPACE, typeset } from "../format.ts";
import { Holds } from "../prediction/stop.tsx";
import { stop } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { Option, Question } from "../trace.ts";
import { isRight, knownMistake, NO_ANSWER, readNumber, type Answer } from "./check.ts";
import { QuizText } from "./quiz_text.tsx";

interface QuestionProps {
  question: Question;
  number: number;
  /** why the answer does not follow from the document; null where it does */
  problem: string | null;
  /** a test has no hints and no second try; in practice, prompt and solution stand around the form */
  place?: "quiz" | "practice" | "test";
  onAnswered?: (isRight: boolean) => void;
  children?: ComponentChildren;
}

export function QuestionForm({ question, number, problem, place = "quiz", onAnswered, children }: QuestionProps) {
  const [answer, setAnswer] = useState<Answer>(NO_ANSWER);
  const [typed, setTyped] = useState("");
  const [complaint, setComplaint] = useState<string | null>(null);
  const [isAnswered, setAnswered] = useState(false);
  const [hints, setHints] = useState(0);
  const [isSolved, setSolved] = useState(false);
  const feedback = useRef<HTMLDivElement>(null);
  const form = useRef<HTMLFormElement>(null);
  const id = useId();

  useEffect(() => {
    if (isAnswered) feedback.current?.focus();
  }, [isAnswered]);

  const submit = (event: Event) => {
    event.preventDefault();
    if (isAnswered) return;
    const given = question.kind === "number" ? { option: null, value: readNumber(typed) } : answer;
    const missing = given.option === null && given.value === null;
    setComplaint(missing ? complaintOf(question, typed) : null);
    if (missing) return form.current?.querySelector("input")?.focus();
    setAnswer(given);
    setAnswered(true);
    onAnswered?.(isRight(question, given));
  };
  const again = () => {
    setAnswered(false);
    setAnswer(NO_ANSWER);
    setTyped("");
    requestAnimationFrame(() => form.current?.querySelector("input")?.focus());
  };

  const hasAid = place !== "test";
  const prompt = <Prompt question={question} id={`${id}-prompt`} isUnseen={place === "practice"} />;
  return (
    <form class={isAnswered ? "question is-answered" : "question"} ref={form} onSubmit={submit}>
      <p class="question-number" aria-hidden="true">
        {number}
      </p>
      <div>
        {question.kind === "choice" ? (
          <fieldset disabled={isAnswered}>
            <legend>{prompt}</legend>
            {question.options.map((option, index) => (
              <OptionRow
                option={option}
                name={id}
                isChosen={answer.option === index}
                isAnswered={isAnswered}
                onChoose={() => setAnswer({ option: index, value: null })}
              />
            ))}
          </fieldset>
        ) : (
          <div class="asked">
            {prompt}
            <NumberField
              question={question}
              id={id}
              typed={typed}
              isAnswered={isAnswered}
              isInvalid={complaint !== null}
              onType={setTyped}
            />
          </div>
        )}
        {problem && (
          <Holds isOk={false}>
            <UserText text={problem} />
          </Holds>
        )}
        {hints > 0 && (
          <ol class="hints">
            {question.hints.slice(0, hints).map((hint) => (
              <li>
                <span>
                  <QuizText text={hint} />
                </span>
              </li>
            ))}
          </ol>
        )}
        <p class="complaint" role="alert" id={`${id}-complaint`}>
          {complaint}
        </p>
        <div class="feedback" ref={feedback} tabIndex={-1} hidden={!isAnswered}>
          {isAnswered && <Feedback question={question} answer={answer} />}
        </div>
        {isSolved && <Solution question={question} />}
        <p class="actions">
          {!isAnswered && (
            <button type="submit" class="button is-primary">
              Check
            </button>
          )}
          {hasAid && isAnswered && !isRight(question, answer) && (
            <button type="button" class="button" onClick={again}>
              Answer again
            </button>
          )}
          {hasAid && !isAnswered && hints < question.hints.length && (
            <button type="button" class="button" onClick={() => setHints(hints + 1)}>
              {hints === 0 ? "Hint" : "One more hint"}
            </button>
          )}
          {isAnswered && !isSolved && place !== "practice" && question.solution.length > 0 && (
            <button type="button" class="button" onClick={() => setSolved(true)}>
              Worked solution
            </button>
          )}
          {isAnswered && children}
        </p>
      </div>
    </form>
  );
}

function complaintOf(question: Question, typed: string): string {
  if (question.kind === "choice") return "Nothing is chosen yet. Choose an option.";
  if (typed.trim() === "") return "There is no number yet. Type one.";
  return "This is no number. Type one such as 63.7.";
}

function Prompt({ question, id, isUnseen }: { question: Question; id: string; isUnseen: boolean }) {
  return (
    <span class={isUnseen ? "unseen" : "prompt"} id={id}>
      <span class="question-level">
        {levelName(question)}, {question.concept}
      </span>
      <QuizText text={question.prompt} />
    </span>
  );
}

function levelName({ level }: Question): string {
  return level.charAt(0).toUpperCase() + level.slice(1);
}

function OptionRow(props: {
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

function Misconception({ text }: { text: string }) {
  return <span class="misconception"> Common mistake: it {typeset(text)}.</span>;
}

function NumberField(props: {
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

/** The unit with the space before it; a power of ten is written as one. */
function unitOf({ unit }: Question): string {
  if (!unit) return "";
  const power = /^x 10\^(-?\d+)(.*)$/.exec(unit);
  if (!power) return unit === "%" ? `${THIN_SPACE}%` : ` ${unit}`;
  return `${THIN_SPACE}${scientific(10 ** Number(power[1]), 1).replace(/^1\s/, "")}${power[2] ?? ""}`;
}

function Feedback({ question, answer }: { question: Question; answer: Answer }) {
  const right = isRight(question, answer);
  const mistake = right ? null : knownMistake(question, answer);
  return (
    <>
      <p>
        <b>{right ? "Right." : "Not this one."}</b>{" "}
        {question.kind === "number" && <NumberVerdict question={question} isRight={right} mistake={mistake} />}
        {question.kind === "choice" && mistake?.misconception && <>This is a common mistake: it {typeset(mistake.misconception)}.{" "}</>}
        {!right && <LookAt question={question} />}
      </p>
      {!right && question.kind === "number" && !mistake && question.mistakes.length > 0 && (
        <p>{mistakesSentence(question.mistakes)}</p>
      )}
    </>
  );
}

function NumberVerdict(props: { question: Question; isRight: boolean; mistake: Option | null }) {
  const { question, mistake } = props;
  if (props.isRight && question.answer !== null) {
    return (
      <>
        {question.tolerance ? "The exact answer is" : "It is"} {significant(question.answer, 4 + (question.tolerance ? 0 : 4))}
        {unitOf(question)}.
      </>
    );
  }
  if (!mistake) return null;
  return (
    <>
      <QuizText text={mistake.why} />
      {mistake.misconception && <Misconception text={mistake.misconception} />}{" "}
    </>
  );
}

/** Mistakes are written as what they do: "divides by a part of the rows". */
export function mistakesSentence(mistakes: readonly string[]): string {
  const name = mistakes.length === 1 ? "Common mistake" : "Common mistakes";
  return `${name}: ${mistakes.map((mistake) => `it ${typeset(mistake)}`).join("; ")}.`;
}

/** The place of the page from which the answer can be read. */
export function LookAt({ question }: { question: Question }) {
  const place = stop(question.section);
  return place ? (
    <>
      Look at <a href={`#${place.id}`}>section {place.number}, {place.title}</a>.
    </>
  ) : null;
}

export function Solution({ question }: { question: Question }) {
  return (
    <ol class="solution">
      {question.solution.map((step) => (
        <li>
          <QuizText text={step} />
        </li>
      ))}
    </ol>
  );
}
