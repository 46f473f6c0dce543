import { Table } from "../charts/figure.tsx";
import type { ShownCheck } from "../checks.ts";
import { significant, typeset } from "../format.ts";

const SHOWN = 2;

/** The checks as a grid of ticks; a ring marks what this browser computed again. */
export function Checks({ checks }: { checks: ShownCheck[] }) {
  const failing = checks.filter((check) => !check.isOk);
  const hasRing = checks.some((check) => check.recomputed !== null);
  return (
    <div id="checks">
      <h2>
        {checks.length - failing.length} of {checks.length} checks hold
      </h2>
      <ul class="ticks">
        {checks.map((shown) => (
          <Tick shown={shown} />
        ))}
      </ul>
      {failing.slice(0, SHOWN).map(({ check, sentence }) => (
        <p class="failing">
          {check.id} fails: {typeset(sentence)}
        </p>
      ))}
      {failing.length > SHOWN && (
        <p class="failing">
          {failing
            .slice(SHOWN)
            .map(({ check }) => check.id)
            .join(", ")}{" "}
          {failing.length === SHOWN + 1 ? "fails" : "fail"}, too; the list of all checks says why.
        </p>
      )}
      {hasRing && <p class="ring-key">Ringed: computed again in this browser.</p>}
    </div>
  );
}

function Tick({ shown }: { shown: ShownCheck }) {
  const { check, recomputed, isOk } = shown;
  const kind = [isOk ? "" : "is-failing", recomputed ? "is-ringed" : ""].join(" ").trim();
  const again = recomputed ? ", computed again in this browser" : "";
  return (
    <li class={kind || undefined} title={`${check.id} ${check.name}`}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        <path d={isOk ? "M2 6.5 4.8 9.2 10 3" : "M2.5 2.5l7 7M9.5 2.5l-7 7"} />
      </svg>
      <span class="unseen">
        {check.id} {check.name}: {isOk ? "holds" : "fails"}
        {again}
      </span>
    </li>
  );
}

export function ChecksTable({ checks }: { checks: ShownCheck[] }) {
  return (
    <Table
      caption="All checks, with what was measured"
      class="small checks-table"
      rows={checks}
      columns={[
        { name: "Check", value: ({ check }) => check.id },
        { name: "What must hold", value: ({ check }) => check.name },
        {
          name: "Result",
          value: ({ isOk, sentence }) => (
            <span class={isOk ? undefined : "failing"}>
              <b>{isOk ? "holds" : "fails"}.</b> {typeset(sentence)}
            </span>
          ),
        },
        { name: "Measured", value: ({ check }) => (check.value === null ? "–" : significant(check.value)), isNumber: true },
        { name: "Allowed", value: ({ check }) => (check.tolerance === null ? "–" : significant(check.tolerance)), isNumber: true },
        { name: "In this browser", value: ({ recomputed }) => (recomputed ? recomputed.sentence : "–") },
      ]}
    />
  );
}
