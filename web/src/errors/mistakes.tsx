// Test rows as a list: text, what was said of it, and how surely.
import { Fold } from "../fold.tsx";
import { count, probability } from "../format.ts";
import { UserText } from "../text.tsx";
import type { TestErrors, TestRow } from "../trace.ts";

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

/** The wrong predictions with the highest probability, over all cells. */
export function SurestMistakes({ errors, isRedacted }: { errors: TestErrors; isRedacted: boolean }) {
  const rows = errors.examples.filter((row) => row.label !== row.predicted).sort((a, b) => b.probability - a.probability);
  return (
    <div>
      <h3 class="small-title">Surest mistakes</h3>
      <p class="note">Wrong predictions with the highest probability. Some of them may be wrong labels.</p>
      {rows.length === 0 ? (
        <p class="note">The page has no wrong prediction.</p>
      ) : (
        <RowList rows={rows} errors={errors} isRedacted={isRedacted} hasLabels />
      )}
    </div>
  );
}
