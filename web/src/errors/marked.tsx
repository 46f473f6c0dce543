import { Plain, Rest, shorten, UserText } from "../text.tsx";
import type { Entity } from "../trace.ts";

/** A text with its entities marked, each with its type behind it. Offsets count code points. The text is one run for the
 * browser, which reorders its pieces where it is written from right to left. */
export function Marked({ text, entities, limit }: { text: string; entities: readonly Entity[]; limit: number }) {
  const characters = [...text];
  const shown = [...entities].filter(({ end }) => end <= limit).sort((a, b) => a.start - b.start);
  const parts = [];
  let at = 0;
  for (const { start, end, type } of shown) {
    if (start < at) continue;
    if (start > at) parts.push(<Plain text={characters.slice(at, start).join("")} />);
    parts.push(
      <mark class="entity">
        <Plain text={characters.slice(start, end).join("")} />
        <small>
          <UserText text={type} limit={24} />
        </small>
      </mark>,
    );
    at = end;
  }
  const [tail, rest] = shorten(characters.slice(at).join(""), Math.max(1, limit - at));
  return (
    <bdi dir="auto" class="user marked">
      {parts}
      <Plain text={tail} />
      <Rest count={rest} />
    </bdi>
  );
}
