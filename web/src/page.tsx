import { useEffect, useMemo, useState } from "preact/hooks";

import { CarriedModel, useCarriedModel } from "./carried_model.tsx";
import { shownChecks } from "./checks.ts";
import { Errors } from "./errors/index.tsx";
import { Flow } from "./flow/index.tsx";
import { Help } from "./help/index.tsx";
import { InsightSection } from "./insight/index.tsx";
import { Methods } from "./methods/index.tsx";
import type { Oracle } from "./oracle.ts";
import { Prediction } from "./prediction/index.tsx";
import { QuizSection } from "./quiz/index.tsx";
import { Rail } from "./rail.tsx";
import { RunSection } from "./run/index.tsx";
import { Section } from "./section.tsx";
import { type Connection, subscribe } from "./source.ts";
import { StatusLine, useHasGrown, withoutAdvice } from "./status_line.tsx";
import type { RunTrace } from "./trace.ts";
import { Training } from "./training/index.tsx";

/** The whole page. In a live page the document grows; folds, focus and scroll are those of the elements and stay. */
export function Page({ first, server }: { first: RunTrace; server: Oracle | null }) {
  const [known, setTrace] = useState(first);
  const [connection, setConnection] = useState<Connection | null>(null);
  useEffect(() => subscribe((change) => setTrace((known) => ({ ...known, ...change })), setConnection), []);
  const hasGrown = useHasGrown(connection);
  const trace = useMemo(() => (hasGrown ? withoutAdvice(known) : known), [known, hasGrown]);
  const carried = useCarriedModel();
  const oracle = server ?? (carried === "unreadable" ? null : carried);
  const isWhole = useAfterPaint(followAddress);
  const checks = useMemo(() => shownChecks(trace), [trace]);
  return (
    <>
      <a class="skip-link" href="#main">
        Skip to the report
      </a>
      <div class="shell">
        <Rail trace={trace} checks={checks} />
        <main id="main" tabIndex={-1}>
          {connection && <StatusLine trace={trace} connection={connection} />}
          <RunSection trace={trace} checks={checks} />
          <Section id="flow" trace={trace}>
            {isWhole && <Flow trace={trace} />}
          </Section>
          <Section id="training" trace={trace}>
            {isWhole && <Training trace={trace} />}
          </Section>
          <Section id="help" trace={trace}>
            {isWhole && <Help trace={trace} />}
          </Section>
          <Section id="prediction" trace={trace}>
            {isWhole && <Prediction trace={trace} oracle={oracle} />}
          </Section>
          <Section id="errors" trace={trace}>
            {isWhole && <Errors trace={trace} />}
          </Section>
          <Section id="quiz" trace={trace}>
            {isWhole && <QuizSection trace={trace} />}
          </Section>
          <Section id="insight" trace={trace}>
            {isWhole && <InsightSection trace={trace} />}
          </Section>
          <Section id="methods" trace={trace}>
            {isWhole && (
              <>
                <Methods trace={trace} />
                <CarriedModel carried={carried} trace={trace} />
              </>
            )}
          </Section>
        </main>
      </div>
    </>
  );
}

/** False until the first screen has been painted: what is below it is drawn a moment later. */
function useAfterPaint(then: () => void): boolean {
  const [isPainted, setPainted] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setPainted(true));
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (isPainted) then();
  }, [isPainted]);
  return isPainted;
}

/** The browser looked for the place in the address before it was drawn. */
function followAddress(): void {
  if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}
