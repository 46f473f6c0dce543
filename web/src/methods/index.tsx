import { Command } from "../command.tsx";
import { Lead, Part } from "../section.tsx";
import type { RunTrace } from "../trace.ts";
import { Downloads } from "./downloads.tsx";
import { methodsOf } from "./entries.ts";

/** How each figure is made, how to repeat the run, and its numbers to take away. */
export function Methods({ trace }: { trace: RunTrace }) {
  const { run } = trace;
  return (
    <>
      <Lead>How each figure is made, and what to keep in mind when reading it.</Lead>
      <table class="methods">
        <caption class="unseen">How each figure is made</caption>
        <thead>
          <tr>
            <th scope="col">Figure</th>
            <th scope="col">How it is made</th>
            <th scope="col">Read with care</th>
          </tr>
        </thead>
        <tbody>
          {methodsOf(trace).map((entry) => (
            <tr id={`method-${entry.id}`}>
              <th scope="row">{entry.figure}</th>
              <td>
                {entry.made}
                {entry.source && <small>{entry.source}</small>}
              </td>
              <td>{entry.care}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <Part title={run.command ? "Repeat this run" : "The numbers of this page"}>
        {run.command && <Command text={run.command} />}
        <Downloads trace={trace} />
      </Part>
      <footer class="colophon">
        <span>
          run <code>{run.id}</code>
        </span>
        {Object.entries(run.versions).map(([name, version]) => (
          <span>
            {name} {version}
          </span>
        ))}
        <span>document {trace.schema}</span>
        <span>This page and its code: Apache License 2.0. The texts in it are those of the run.</span>
      </footer>
    </>
  );
}
