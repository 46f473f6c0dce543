// Section 7: questions about this run, whose answers the browser derives from the document again.
import { useMemo } from "preact/hooks";

import { Command } from "../command.tsx";
import { counted } from "../format.ts";
import { Holds } from "../prediction/stop.tsx";
import { Lead, Part } from "../section.tsx";
import type { Question, Quiz, RunTrace } from "../trace.ts";
import { keyOf, mismatchOf } from "./check.ts";
import { PracticeList } from "./practice.tsx";
import { QuestionForm } from "./question.tsx";
import "./quiz.css";
import { TestOfTen } from "./test_of_ten.tsx";

export function QuizSection({ trace }: { trace: RunTrace }) {
  const { quiz } = trace;
  const failing = useMemo(() => (quiz ? failingQuestions(quiz, trace) : []), [quiz, trace]);
  if (quiz === null) {
    const isExplained = trace.missing.some(({ section }) => section === "quiz");
    return isExplained ? null : <p class="note">This run has no questions yet.</p>;
  }
  const all = [...quiz.quiz, ...quiz.practice, ...quiz.test];
  const derived = all.filter(({ expression }) => expression !== null).length;
  return (
    <div class="quiz">
      <Lead>
        Every question is made from this run or from its methods, and the answers are checked by program. They stand in this
        page, so it is for practice and not for marks.
      </Lead>
      <AnswerCheck failing={failing} total={all.length} derived={derived} />
      {quiz.quiz.map((question, index) => (
        <QuestionForm key={keyOf(question)} question={question} number={index + 1} problem={problemOf(question, failing)} />
      ))}
      {quiz.practice.length > 0 && (
        <Part
          title="Practice"
          sentence={`${capitalCounted(quiz.practice.length, "task")}, each with hints in steps and a worked solution.`}
        >
          <PracticeList tasks={quiz.practice} problemOf={(question) => problemOf(question, failing)} />
        </Part>
      )}
      {quiz.test.length > 0 && (
        <Part title="Test" sentence={`${capitalCounted(quiz.test.length, "question")} over three levels, without hints and without a clock.`}>
          <TestOfTen key={quiz.test.map(keyOf).join()} questions={quiz.test} problemOf={(question) => problemOf(question, failing)} />
          {quiz.command && (
            <>
              <p class="note or-terminal">Or in the terminal:</p>
              <Command text={quiz.command} />
            </>
          )}
        </Part>
      )}
    </div>
  );
}

function capitalCounted(value: number, noun: string): string {
  const text = counted(value, noun);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

interface Failing {
  question: Question;
  sentence: string;
}

function failingQuestions(quiz: Quiz, trace: RunTrace): Failing[] {
  return [...quiz.quiz, ...quiz.practice, ...quiz.test].flatMap((question) => {
    const sentence = mismatchOf(question, trace);
    return sentence === null ? [] : [{ question, sentence }];
  });
}

function problemOf(question: Question, failing: Failing[]): string | null {
  return failing.find((other) => other.question === question)?.sentence ?? null;
}

function AnswerCheck({ failing, total, derived }: { failing: Failing[]; total: number; derived: number }) {
  if (total === 0) return <p class="note">This run gives no question, since too little of it is recorded.</p>;
  if (failing.length === 0) {
    return (
      <Holds isOk>
        {counted(derived, "answer")} {derived === 1 ? "was" : "were"} derived again in this browser from the data of this page
        {derived < total && `; the other ${counted(total - derived, "question")} ${total - derived === 1 ? "is" : "are"} about concepts`}
      </Holds>
    );
  }
  return (
    <Holds isOk={false}>
      {failing.length} of {counted(total, "answer")} cannot be derived from the data of this page; they are marked where they stand
    </Holds>
  );
}
