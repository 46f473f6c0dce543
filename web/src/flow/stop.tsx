import type { ComponentChildren } from "preact";

import { Fold } from "../fold.tsx";
import { capital, count, counted, duration, size, typeset } from "../format.ts";
import { written } from "../quantities.ts";
import { UserText } from "../text.tsx";
import type { Dropped, Message, Quantity, RunTrace, Stage } from "../trace.ts";
import { ExampleAt } from "./example.tsx";

/** One stage: its facts to the left, the example to the right. */
export function Stop({ stage, trace, isLast }: { stage: Stage; trace: RunTrace; isLast: boolean }) {
  return (
    <li class="stop">
      <span class={isLast && stage.status === "finished" ? "node is-end" : "node"} aria-hidden="true">
        {stage.number}
      </span>
      <div class="stop-head">
        <h3>{capital(stage.name)}</h3>
        <p class="stop-meta">
          <span class="stop-title">{stage.title}</span>
          {stage.seconds !== null && <span>{duration(stage.seconds)}</span>}
          {stage.peak_memory_bytes !== null && <span>at most {size(stage.peak_memory_bytes)}</span>}
          {stage.status !== "finished" && <span>{stage.status === "running" ? "not finished" : "not run"}</span>}
        </p>
      </div>
      <div class="stop-body">
        <div>
          <dl class="facts">
            <Fact name="in" quantities={stage.shape_in} />
            <Fact name="out" quantities={stage.shape_out} />
            {stage.status === "finished" && <DroppedFact stage={stage} />}
          </dl>
          {stage.reached && <p class="reached">{typeset(stage.reached)}</p>}
          <Messages messages={stage.messages} stage={stage.name} />
          {stage.dropped.some((rule) => rule.examples.length > 0) && (
            <Fold name="What was dropped" of={stage.name}>
              <DroppedList rules={stage.dropped} />
            </Fold>
          )}
        </div>
        <div class="example">{trace.example && <ExampleAt stage={stage.name} trace={trace} example={trace.example} />}</div>
      </div>
    </li>
  );
}

function Fact({ name, quantities }: { name: string; quantities: Quantity[] }) {
  if (quantities.length === 0) return null;
  return (
    <Line name={name}>
      {quantities.map((quantity) => (
        <span>{written(quantity)}</span>
      ))}
    </Line>
  );
}

function Line({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function DroppedFact({ stage }: { stage: Stage }) {
  const total = stage.dropped.reduce((sum, rule) => sum + rule.count, 0);
  if (total === 0 && stage.name !== "collect" && stage.name !== "preprocess") return null;
  const unit = stage.name === "prepare" || stage.name === "split" ? "row" : "document";
  return <Line name="dropped">{total === 0 ? "none" : `${count(total)} ${unit}${total === 1 ? "" : "s"}`}</Line>;
}

function DroppedList({ rules }: { rules: Dropped[] }) {
  return (
    <ul class="dropped">
      {rules.map((rule) => (
        <li>
          <p>
            <b>{rule.rule.replaceAll("_", " ")}</b>, {count(rule.count)}: {typeset(rule.reason)}
          </p>
          {rule.examples.map((text) => (
            <blockquote>
              <UserText text={text} limit={240} />
            </blockquote>
          ))}
        </li>
      ))}
    </ul>
  );
}

/** Warnings stand in the open; what was detected and noticed is folded. */
function Messages({ messages, stage }: { messages: Message[]; stage: string }) {
  const warnings = messages.filter((message) => message.kind === "warning");
  const others = messages.filter((message) => message.kind !== "warning");
  return (
    <>
      {warnings.map((message) => (
        <p class="warning">
          <b>Warning:</b> <UserText text={typeset(message.sentence)} limit={400} />
        </p>
      ))}
      {others.length > 0 && (
        <Fold name={capital(counted(others.length, "message"))} of={stage}>
          <ul class="messages">
            {others.map((message) => (
              <li>
                <UserText text={typeset(message.sentence)} limit={600} />
              </li>
            ))}
          </ul>
        </Fold>
      )}
    </>
  );
}
