import { UserText } from "../text.tsx";
import type { Entity } from "../trace.ts";

/** A text with its entities marked, each with its type behind it. Offsets count code points. */
export function Marked({ text, entities, limit }: { text: string; entities: readonly Entity[]; limit: number }) {
  const characters = [...text];
  const shown = [...entities].filter(({ end }) => end <= limit).sort((a, b) => a.start - b.start);
  const parts = [];
  let at = 0;
  for (const { start, end, type } of shown) {
    if (start < at) continue;
    if (start > at) parts.push(<UserText text={characters.slice(at, start).join("")} />);
    parts.push(
      <mark class="entity">
        <UserText text={characters.slice(start, end).join("")} />
        <small>
          <UserText text={type} limit={24} />
        </small>
      </mark>,
    );
    at = end;
  }
  if (at < characters.length) parts.push(<UserText text={characters.slice(at).join("")} limit={Math.max(1, limit - at)} />);
  return <span class="marked">{parts}</span>;
}
