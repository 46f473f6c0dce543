import { useEffect, useRef, useState } from "preact/hooks";

import type { ShownCheck } from "./checks.ts";
import { STOPS, stopsOf, SyntheticMark } from "./section.tsx";
import { ThemeSwitch } from "./theme.tsx";
import type { RunTrace } from "./trace.ts";

/** The line of numbered stops at the left; on narrow screens a bar at the top. */
export function Rail({ trace, checks }: { trace: RunTrace; checks: ShownCheck[] }) {
  const current = useCurrentSection();
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const [line, link] = [list.current, list.current?.querySelector<HTMLElement>(`[href="#${current}"]`)];
    // In the bar, the list is moved by itself: scrollIntoView would move the page, too.
    if (line && link && line.scrollWidth > line.clientWidth) line.scrollTo({ left: link.offsetLeft - 24 });
  }, [current]);
  return (
    <header class="rail">
      <div class="brand">
        <p>
          <b>pretune</b>
          <span>run {trace.run.name}</span>
        </p>
        {trace.run.is_synthetic && <SyntheticMark long />}
      </div>
      <nav aria-label="Sections">
        <ol ref={list}>
          {stopsOf(trace).map((stop) => (
            <li key={stop.id}>
              <a href={`#${stop.id}`} aria-current={stop.id === current ? "location" : undefined}>
                <span class="stop-number">{stop.number}</span>
                <span>{stop.name}</span>
              </a>
            </li>
          ))}
        </ol>
        {trace.run.is_synthetic && <span class="synthetic bar-mark">synthetic</span>}
      </nav>
      <div class="rail-foot">
        <ChecksLine checks={checks} />
        <ThemeSwitch />
      </div>
    </header>
  );
}

function ChecksLine({ checks }: { checks: ShownCheck[] }) {
  if (checks.length === 0) return null;
  const failing = checks.filter((check) => !check.isOk);
  return (
    <a class="checks-line" href="#checks">
      {checks.length - failing.length} of {checks.length} checks hold
      {failing.length > 0 && (
        <b class="failing">
          {failing.map(({ check }) => check.id).join(", ")} {failing.length === 1 ? "fails" : "fail"}
        </b>
      )}
    </a>
  );
}

/** The section that stands at the upper third of the window. */
function useCurrentSection(): string {
  const [current, setCurrent] = useState("run");
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) if (entry.isIntersecting) setCurrent(entry.target.id);
      },
      { rootMargin: "-30% 0px -69% 0px" },
    );
    for (const stop of STOPS) {
      const section = document.getElementById(stop.id);
      if (section) observer.observe(section);
    }
    return () => observer.disconnect();
  }, []);
  return current;
}
