// Practice: tasks in folds, each with a try, hints in steps, and a worked solution.
import { useState } from "preact/hooks";

import { Fold } from "../fold.tsx";
import type { Question } from "../trace.ts";
import { keyOf } from "./check.ts";
import { mistakesSentence, Solution } from "./feedback.tsx";
import { QuestionForm } from "./question.tsx";
import { QuizText } from "./quiz_text.tsx";

interface PracticeProps {
  tasks: readonly Question[];
  problemOf: (question: Question) => string | null;
}

export function PracticeList({ tasks, problemOf }: PracticeProps) {
  return (
    <ol class="tasks">
      {tasks.map((task, index) => (
        <li key={keyOf(task)}>
          <Task task={task} number={index + 1} problem={problemOf(task)} />
        </li>
      ))}
    </ol>
  );
}

function Task({ task, number, problem }: { task: Question; number: number; problem: string | null }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="task" onToggle={(event) => setOpen((was) => was || event.currentTarget.open)}>
      <summary>
        <span>
          <QuizText text={task.prompt} />
        </span>
        <small>{task.level}</small>
      </summary>
      {isOpen && (
        <div class="task-body">
          <QuestionForm question={task} number={number} problem={problem} place="practice" />
          {task.solution.length > 0 && (
            <Fold name="Show me the worked solution" of={`task ${number}`}>
              <Solution question={task} />
              {task.mistakes.length > 0 && <p class="note">{mistakesSentence(task.mistakes)}</p>}
            </Fold>
          )}
        </div>
      )}
    </details>
  );
}
