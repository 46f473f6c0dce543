// What is said after an answer, and the worked solution.
import { significant, typeset } from "../format.ts";
import { stop } from "../section.tsx";
import type { Option, Question } from "../trace.ts";
import { isRight, knownMistake, type Answer } from "./check.ts";
import { QuizText } from "./quiz_text.tsx";
import { unitOf } from "./unit.ts";

export function Feedback({ question, answer }: { question: Question; answer: Answer }) {
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

/** The place of the page from which the answer can be read; no figure answers a question about concepts. */
export function placeOf({ section, expression }: Pick<Question, "section" | "expression">) {
  return expression === null ? undefined : stop(section);
}

function LookAt({ question }: { question: Question }) {
  const place = placeOf(question);
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

export function Misconception({ text }: { text: string }) {
  return <span class="misconception"> Common mistake: it {typeset(text)}.</span>;
}
