import "./style.css";

import { render } from "preact";

import { liveOracle } from "./live_oracle.ts";
import { Page } from "./page.tsx";
import { readTrace, TraceError } from "./source.ts";
import { applyStoredTheme } from "./theme.tsx";

applyStoredTheme();

async function start(): Promise<void> {
  const host = document.getElementById("page") ?? document.body.appendChild(document.createElement("div"));
  try {
    const first = await readTrace();
    document.title = `${first.run.name}, traced by pretune`;
    render(<Page first={first} server={liveOracle()} />, host);
  } catch (error) {
    const sentence = error instanceof TraceError ? error.message : "The document of this page cannot be read; the file may be cut off.";
    render(<Failure sentence={sentence} />, host);
    if (!(error instanceof TraceError)) throw error;
  }
}

function Failure({ sentence }: { sentence: string }) {
  return (
    <main class="failure">
      <h1>This trace cannot be shown</h1>
      <p role="alert">{sentence}</p>
    </main>
  );
}

void start();
