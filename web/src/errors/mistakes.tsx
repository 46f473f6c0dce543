// Test rows as a list: text, what was said of it, and how surely.
import { Fold } from "../fold.tsx";
import { count, probability } from "../format.ts";
import { UserText } from "../text.tsx";
import type { TestErrors, TestRow } from "../trace.ts";
import { confusedPairs, rightIn, totalOf } from "./counts.ts";

const SHOWN = 4;
const TEXT_LIMIT = 320;

interface RowListProps {
  rows: readonly TestRow[];
  errors: TestErrors;
  isRedacted: boolean;
  hasLabels?: boolean;
}

/** The first few rows; the others are folded. */
export function RowList(props: RowListProps) {
  const { rows } = props;
  return (
    <>
      <Rows {...props} rows={rows.slice(0, SHOWN)} />
      {rows.length > SHOWN && (
        <Fold name={`${count(rows.length - SHOWN)} more`}>
          <Rows {...props} rows={rows.slice(SHOWN)} />
        </Fold>
      )}
    </>
  );
}

function Rows({ rows, errors, isRedacted, hasLabels = false }: RowListProps) {
  return (
    <ol class="test-rows">
      {rows.map((row) => (
        <li key={row.row}>
          <div>
            <p class={isRedacted ? "is-redacted" : undefined}>
              {isRedacted ? "The text is left out of this file." : <UserText text={row.text} limit={TEXT_LIMIT} />}
            </p>
            {!isRedacted && row.text_pair !== null && (
              <p>
                <UserText text={row.text_pair} limit={TEXT_LIMIT} />
              </p>
            )}
          </div>
          <span class="test-row-probability">
            {probability(row.probability)}
            <small>
              for “<UserText text={errors.labels[row.predicted] ?? ""} limit={40} />”
            </small>
          </span>
          <small>
            row {count(row.row)}
            {row.slice !== null && (
              <>
                , slice “<UserText text={row.slice} limit={40} />”
              </>
            )}
            {hasLabels && (
              <>
                , labelled “<UserText text={errors.labels[row.label] ?? ""} limit={40} />”
              </>
            )}
          </small>
        </li>
      ))}
    </ol>
  );
}

/** What the list of mistakes is: all of them, or some of each cell of the confusion matrix, or of as many cells as fit. */
export function mistakesNote({ confusion, examples }: Pick<TestErrors, "confusion" | "examples">): string {
  const rows = examples.filter((row) => row.label !== row.predicted);
  const inCell = (row: TestRow) => rows.filter((other) => other.label === row.label && other.predicted === row.predicted).length;
  const most = Math.max(1, ...rows.map(inCell));
  const isAll = rows.length >= totalOf(confusion) - rightIn(confusion);
  const kinds = new Set(rows.map((row) => `${row.label} ${row.predicted}`)).size;
  const list = isAll
    ? "All wrong predictions, those with the highest probability first."
    : most === 1 && kinds < confusedPairs(confusion).length
      ? `The surest mistake of each of ${count(kinds)} kinds (one class taken for another).`
      : `Up to ${count(most)} of each kind of mistake (one class taken for another), the surest first.`;
  return `${list} Some of them may be wrong labels.`;
}

/** The wrong predictions that the page has, the surest first. */
export function SurestMistakes({ errors, isRedacted }: { errors: TestErrors; isRedacted: boolean }) {
  const rows = errors.examples.filter((row) => row.label !== row.predicted).sort((a, b) => b.probability - a.probability);
  return (
    <div>
      <h3 class="small-title">Surest mistakes</h3>
      {rows.length === 0 ? (
        <p class="note">The page has no wrong prediction.</p>
      ) : (
        <>
          <p class="note">{mistakesNote(errors)}</p>
          <RowList rows={rows} errors={errors} isRedacted={isRedacted} hasLabels />
        </>
      )}
    </div>
  );
}
