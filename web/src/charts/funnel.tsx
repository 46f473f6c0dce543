import { count, MINUS } from "../format.ts";
import type { FunnelStep } from "../trace.ts";

/** What each step dropped as a bar, and what is left at the right. */
export function FunnelList({ steps }: { steps: FunnelStep[] }) {
  const losses = steps.map((step, index) => Math.max(0, (steps[index - 1]?.documents ?? step.documents) - step.documents));
  const largest = Math.max(1, ...losses);
  const shown = steps.filter((_, index) => index === 0 || (losses[index] ?? 0) > 0);
  return (
    <ol class="funnel">
      {shown.map((step) => {
        const lost = losses[steps.indexOf(step)] ?? 0;
        return (
          <li>
            <span>{step.step.replaceAll("_", " ")}</span>
            <span class="number">{count(step.documents)}</span>
            {lost > 0 && (
              <span class="funnel-loss">
                <i style={{ width: `${(62 * lost) / largest}%` }} />
                {MINUS}
                {count(lost)}
              </span>
            )}
          </li>
        );
      })}
      <li class="is-total">
        <span>kept</span>
        <span class="number">{count(steps.at(-1)?.documents ?? 0)}</span>
      </li>
    </ol>
  );
}
