import { Table } from "../charts/figure.tsx";
import { count } from "../format.ts";
import { Part } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { RunTrace } from "../trace.ts";

/** The beginnings of sentences, with what the model wrote after each at every evaluation. */
export function Continued({ trace }: { trace: RunTrace }) {
  const prompts = trace.continued.filter((prompt) => prompt.moments.length > 0);
  return (
    <Part
      id="continued"
      title="Continued, again and again"
      sentence="At every evaluation the model goes on from the same words, each time with the token that it finds the most probable."
    >
      {prompts.map(({ prompt, moments }) => (
        <div class="continued">
          <p class="sentence">
            <UserText text={prompt} limit={120} /> …
          </p>
          <Table
            caption="What followed, by step"
            rows={moments}
            columns={[
              { name: "Step", value: (moment) => count(moment.step), isNumber: true },
              { name: "Continued", value: (moment) => <UserText text={moment.text.trim() || "(the end)"} limit={160} /> },
            ]}
          />
        </div>
      ))}
    </Part>
  );
}
