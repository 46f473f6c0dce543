import { Fold } from "../fold.tsx";
import { count, percent } from "../format.ts";
import { modelName } from "../models.ts";
import { Part } from "../section.tsx";
import { UserText } from "../text.tsx";
import type { Comparison, Disagreement } from "../trace.ts";

/** Of the texts that the two answer differently, how many each has right. */
export function Disagreements({ comparison }: { comparison: Comparison }) {
  const others = [...new Set(comparison.disagreements.map((row) => row.other))];
  const first = others.includes("scratch") ? "scratch" : others.at(-1);
  const rest = others.filter((other) => other !== first).toReversed();
  return (
    <Part
      title="Who is right where the other is wrong"
      sentence="Of the test texts that only one of the two gets right, the part that each has; the pre-trained model with its first seed."
    >
      <ul class="key">
        <li>
          <i class="key-accent" />
          only the pre-trained model is right
        </li>
        <li>
          <i class="key-other" />
          only the other is right
        </li>
      </ul>
      {first !== undefined && <Against comparison={comparison} other={first} />}
      {rest.length > 0 && (
        <Fold name="The same against the simple baselines">
          {rest.map((other) => (
            <Against comparison={comparison} other={other} />
          ))}
        </Fold>
      )}
    </Part>
  );
}

function Against({ comparison, other }: { comparison: Comparison; other: string }) {
  const name = other === "scratch" ? "the network from scratch" : modelName(comparison, other);
  return (
    <div class="disagreements">
      <h4>The other is {name}</h4>
      <ul>
        {comparison.disagreements
          .filter((row) => row.other === other)
          .map((row) => (
            <Row row={row} />
          ))}
      </ul>
    </div>
  );
}

function Row({ row }: { row: Disagreement }) {
  const split = row.only_pretrained_right + row.only_other_right;
  const n = split + row.both_right + row.both_wrong;
  return (
    <li>
      <span class="disagreement-name">
        {row.slice === null ? "all test texts" : <UserText text={row.slice} limit={60} />}
        <small>{count(n)} texts</small>
      </span>
      <span class="versus" aria-hidden="true">
        <i class="is-accent" style={{ flexGrow: row.only_pretrained_right }} />
        <i style={{ flexGrow: row.only_other_right }} />
      </span>
      <span class="disagreement-words">
        <b>{count(row.only_pretrained_right)}</b> to {count(row.only_other_right)}
        <small>
          both right {percent(n > 0 ? row.both_right / n : 0)}, both wrong {percent(n > 0 ? row.both_wrong / n : 0)}
        </small>
      </span>
    </li>
  );
}
