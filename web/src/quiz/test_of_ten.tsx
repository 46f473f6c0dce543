// The test: one question after another, a score by level at the end, and what to look at again.
import { useEffect, useRef, useState } from "preact/hooks";

import { capital, counted } from "../format.ts";
import type { Question } from "../trace.ts";
import { keyOf } from "./check.ts";
import { placeOf } from "./feedback.tsx";
import { QuestionForm } from "./question.tsx";

const LEVELS = ["easy", "medium", "hard"] as const;

interface TestProps {
  questions: readonly Question[];
  problemOf: (question: Question) => string | null;
}

export function TestOfTen({ questions, problemOf }: TestProps) {
  /** the position of the question; null before the start */
  const [at, setAt] = useState<number | null>(null);
  const [results, setResults] = useState<boolean[]>([]);
  const [round, setRound] = useState(0);
  const place = useRef<HTMLDivElement>(null);
  const question = at === null ? undefined : questions[at];
  const isOver = at !== null && at >= questions.length;

  useEffect(() => {
    if (at === null) return;
    place.current?.querySelector<HTMLElement>("input, [tabindex='-1']")?.focus();
  }, [at, round]);

  const start = () => {
    setResults([]);
    setRound(round + 1);
    setAt(0);
  };
  return (
    <div class="test">
      <div class="test-head">
        <Squares questions={questions} results={results} at={at} />
        {at === null && (
          <button type="button" class="button is-primary" onClick={start}>
            Start the test
          </button>
        )}
      </div>
      <div ref={place}>
        {question && (
          <QuestionForm
            key={`${round} ${keyOf(question)}`}
            question={question}
            number={at! + 1}
            problem={problemOf(question)}
            place="test"
            onAnswered={(isRight) => setResults([...results, isRight])}
          >
            <button type="button" class="button is-primary" onClick={() => setAt(at! + 1)}>
              {at! + 1 < questions.length ? "Next question" : "Show the score"}
            </button>
          </QuestionForm>
        )}
        {isOver && <Score questions={questions} results={results} onAgain={start} />}
      </div>
    </div>
  );
}

/** A square for each question, in a tone for its level; a sign and a word say how it was answered. */
function Squares({ questions, results, at }: { questions: readonly Question[]; results: boolean[]; at: number | null }) {
  return (
    <ol class="squares" aria-label="Questions of the test">
      {questions.map((question, index) => {
        const result = results[index];
        return (
          <li
            key={question.id}
            class={`square is-${question.level}${at === index ? " is-current" : ""}`}
            aria-current={at === index ? "step" : undefined}
          >
            <span aria-hidden="true">{result === undefined ? index + 1 : result ? "✓" : "×"}</span>
            <span class="unseen">
              {index + 1}, {question.level}
              {result === undefined ? "" : result ? ", right" : ", wrong"}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function Score({ questions, results, onAgain }: { questions: readonly Question[]; results: boolean[]; onAgain: () => void }) {
  const right = results.filter(Boolean).length;
  const wrong = questions.filter((_, index) => results[index] === false);
  return (
    <div class="score" tabIndex={-1}>
      <p class="score-line">
        {right} of {questions.length} right
      </p>
      <dl>
        {LEVELS.map((level) => {
          const places = questions.flatMap((question, index) => (question.level === level ? [index] : []));
          return (
            places.length > 0 && (
              <div key={level}>
                <dt>{capital(level)}</dt>
                <dd>
                  {places.filter((index) => results[index]).length} of {places.length}
                </dd>
              </div>
            )
          );
        })}
      </dl>
      <LookAgain wrong={wrong} />
      <p class="actions">
        <button type="button" class="button" onClick={onAgain}>
          Take the test again
        </button>
      </p>
    </div>
  );
}

/** What the wrong answers were about, by the section where it can be read. */
function LookAgain({ wrong }: { wrong: readonly Question[] }) {
  if (wrong.length === 0) return <p>There is nothing to look at again.</p>;
  const places = [...new Set(wrong.map(placeOf))];
  return (
    <>
      <p>
        <b>Look at again, for {counted(wrong.length, "answer")}:</b>
      </p>
      <ul class="look-again">
        {places.map((place) => {
          const concepts = [...new Set(wrong.filter((question) => placeOf(question) === place).map(({ concept }) => concept))];
          return (
            <li key={place?.id}>
              {concepts.join(", ")}
              {place && (
                <>
                  {" "}
                  in <a href={`#${place.id}`}>section {place.number}, {place.title}</a>
                </>
              )}
            </li>
          );
        })}
      </ul>
    </>
  );
}
