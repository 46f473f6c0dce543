// One question: a choice with a reason beside every option, or a number with its tolerance.
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { focusAdded } from "../focus.ts";
import { Holds } from "../prediction/stop.tsx";
import { UserText } from "../text.tsx";
import type { Question } from "../trace.ts";
import { NumberField, OptionRow } from "./answer_fields.tsx";
import { isRight, NO_ANSWER, readNumber, type Answer } from "./check.ts";
import { Feedback, Solution } from "./feedback.tsx";
import { QuizText } from "./quiz_text.tsx";

interface QuestionProps {
  question: Question;
  number: number;
  /** why the answer does not follow from the document; null where it does */
  problem: string | null;
  /** a test has no hints and no second try; in practice, prompt and solution stand around the form */
  place?: "quiz" | "practice" | "test";
  onAnswered?: (isRight: boolean) => void;
  /** beside the buttons, once it is answered */
  children?: ComponentChildren;
}

export function QuestionForm({ question, number, problem, place = "quiz", onAnswered, children }: QuestionProps) {
  const answering = useAnswering(question, onAnswered);
  const { answer, isAnswered, complaint, form, feedback } = answering;
  const [hints, setHints] = useState(0);
  const [isSolved, setSolved] = useState(false);
  const id = useId();
  const showHint = () => {
    setHints(hints + 1);
    focusAdded(() => form.current?.querySelector<HTMLElement>(".hints > li:last-child"));
  };
  const showSolution = () => {
    setSolved(true);
    focusAdded(() => form.current?.querySelector<HTMLElement>(".solution"));
  };
  const hasHint = place !== "test" && hints < question.hints.length;
  const canSolve = place !== "practice" && !isSolved && question.solution.length > 0;
  return (
    <form class={isAnswered ? "question is-answered" : "question"} ref={form} onSubmit={answering.submit}>
      <p class="question-number" aria-hidden="true">
        {number}
      </p>
      <div>
        <AnswerFields question={question} answering={answering} id={id} isPromptUnseen={place === "practice"} />
        {problem && (
          <Holds isOk={false}>
            <UserText text={problem} />
          </Holds>
        )}
        <Hints hints={question.hints.slice(0, hints)} />
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
          {!isAnswered && hasHint && <Action name={hints === 0 ? "Hint" : "One more hint"} act={showHint} />}
          {isAnswered && place !== "test" && !isRight(question, answer) && <Action name="Answer again" act={answering.again} />}
          {isAnswered && canSolve && <Action name="Worked solution" act={showSolution} />}
          {isAnswered && children}
        </p>
      </div>
    </form>
  );
}

interface Answering {
  answer: Answer;
  typed: string;
  /** why what was given is no answer, as a sentence */
  complaint: string | null;
  isAnswered: boolean;
  form: RefObject<HTMLFormElement | null>;
  feedback: RefObject<HTMLDivElement | null>;
  choose: (option: number) => void;
  type: (text: string) => void;
  submit: (event: Event) => void;
  again: () => void;
}

/** The state of an answer: given, checked, and given again; the feedback takes the focus. */
function useAnswering(question: Question, onAnswered?: (isRight: boolean) => void): Answering {
  const [answer, setAnswer] = useState<Answer>(NO_ANSWER);
  const [typed, setTyped] = useState("");
  const [complaint, setComplaint] = useState<string | null>(null);
  const [isAnswered, setAnswered] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const feedback = useRef<HTMLDivElement>(null);
  const focusField = () => form.current?.querySelector("input")?.focus();

  useEffect(() => {
    if (isAnswered) feedback.current?.focus();
  }, [isAnswered]);

  const submit = (event: Event) => {
    event.preventDefault();
    if (isAnswered) return;
    const given = question.kind === "number" ? { option: null, value: readNumber(typed) } : answer;
    const isMissing = given.option === null && given.value === null;
    setComplaint(isMissing ? complaintOf(question, typed) : null);
    if (isMissing) return focusField();
    setAnswer(given);
    setAnswered(true);
    onAnswered?.(isRight(question, given));
  };
  const again = () => {
    setAnswered(false);
    setAnswer(NO_ANSWER);
    setTyped("");
    requestAnimationFrame(focusField);
  };
  const choose = (option: number) => setAnswer({ option, value: null });
  return { answer, typed, complaint, isAnswered, form, feedback, choose, type: setTyped, submit, again };
}

function complaintOf(question: Question, typed: string): string {
  if (question.kind === "choice") return "Nothing is chosen yet. Choose an option.";
  if (typed.trim() === "") return "There is no number yet. Type one.";
  return "This is no number. Type one such as 63.7.";
}

function AnswerFields(props: { question: Question; answering: Answering; id: string; isPromptUnseen: boolean }) {
  const { question, answering, id } = props;
  const prompt = <Prompt question={question} id={`${id}-prompt`} isUnseen={props.isPromptUnseen} />;
  if (question.kind === "number") {
    return (
      <>
        {prompt}
        <NumberField
          question={question}
          id={id}
          typed={answering.typed}
          isAnswered={answering.isAnswered}
          isInvalid={answering.complaint !== null}
          onType={answering.type}
        />
      </>
    );
  }
  return (
    <fieldset disabled={answering.isAnswered}>
      <legend>{prompt}</legend>
      {question.options.map((option, index) => (
        <OptionRow
          option={option}
          name={id}
          isChosen={answering.answer.option === index}
          isAnswered={answering.isAnswered}
          onChoose={() => answering.choose(index)}
        />
      ))}
    </fieldset>
  );
}

function Hints({ hints }: { hints: readonly string[] }) {
  if (hints.length === 0) return null;
  return (
    <ol class="hints">
      {hints.map((hint) => (
        <li>
          <span>
            <QuizText text={hint} />
          </span>
        </li>
      ))}
    </ol>
  );
}

function Action({ name, act }: { name: string; act: () => void }) {
  return (
    <button type="button" class="button" onClick={act}>
      {name}
    </button>
  );
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
