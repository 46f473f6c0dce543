import type { RunTrace } from "./trace.ts";

// Where the document of the page comes from: the file itself, or the server of a live page.

export type Mode = "file" | "live";

export function mode(): Mode {
  return document.body.dataset.mode === "live" ? "live" : "file";
}

/** A sentence for the reader: what was found, and what to do. */
export class TraceError extends Error {}

const MAJOR_VERSION = "trace/1.";

/** Reads the document that the page shows. */
export async function readTrace(): Promise<RunTrace> {
  return checked(mode() === "live" ? await fetched() : await embedded());
}

async function fetched(): Promise<unknown> {
  const response = await fetch("/api/trace", { cache: "no-store" });
  if (!response.ok) throw new TraceError(`The server of this page answered ${response.status}. Look at the terminal in which it runs.`);
  return response.json();
}

async function embedded(): Promise<unknown> {
  const payload = document.getElementById("trace")?.textContent?.trim();
  if (!payload) throw new TraceError("This file holds no document. Write it again with pretune report.");
  return JSON.parse(await unpack(payload));
}

/** Decodes base64 of gzip to text. */
export async function unpack(payload: string): Promise<string> {
  const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** A document of this major version; a later minor version only adds to it. */
export function checked(value: unknown): RunTrace {
  const schema = (value as RunTrace | null)?.schema;
  if (typeof schema !== "string" || !schema.startsWith(MAJOR_VERSION)) {
    const found = typeof schema === "string" ? `of version ${schema.slice(0, 40)}` : "without a version";
    throw new TraceError(`This page reads documents of version ${MAJOR_VERSION}x, and found one ${found}. Write it again with pretune report.`);
  }
  return value as RunTrace;
}

/** Some top-level members of the document, new. */
export type Change = Partial<RunTrace>;

export interface Connection {
  isOpen: boolean;
  /** when the last change came, in milliseconds since 1970 */
  changedAt: number | null;
}

const RETRY_MILLISECONDS = 3000;

/**
 * Listens to the server of a live page: one stream for each tab, closed while the tab is hidden. A stream that broke off
 * goes on where it stopped; after a pause the document is read anew. Returns what ends it. A file never changes.
 */
export function subscribe(onChange: (change: Change) => void, onConnection: (state: Connection) => void): () => void {
  if (mode() !== "live") return () => {};
  let stream: EventSource | null = null;
  let retry: number | undefined;
  let changedAt: number | null = null;
  const tell = (isOpen: boolean) => onConnection({ isOpen, changedAt });

  const take = (change: Change) => {
    changedAt = Date.now();
    onChange(change);
    tell(true);
  };
  const close = () => {
    stream?.close();
    stream = null;
    clearTimeout(retry);
  };
  const open = (isAgain: boolean) => {
    close();
    const opened = new EventSource("/api/events");
    stream = opened;
    opened.addEventListener("open", () => tell(true));
    opened.addEventListener("trace", (event) => {
      const { changed } = JSON.parse((event as MessageEvent<string>).data) as { changed?: Change };
      if (changed) take(changed);
    });
    opened.addEventListener("error", () => {
      tell(false);
      if (opened.readyState !== EventSource.CLOSED || stream !== opened) return;
      retry = window.setTimeout(() => open(true), RETRY_MILLISECONDS);
    });
    if (isAgain) readTrace().then(take, () => tell(false));
  };
  const onVisibility = () => (document.hidden ? close() : open(true));

  if (!document.hidden) open(false);
  document.addEventListener("visibilitychange", onVisibility);
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    close();
  };
}
