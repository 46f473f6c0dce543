import { followEvents } from "./event_stream.ts";
import { tokenHeader } from "./token.ts";
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

const FIRST_TRACE_ATTEMPTS = 120;

/** The document as the server has it now. A run that has only just begun may have logged nothing: then it is asked again. */
async function fetched(): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch("/api/trace", { cache: "no-store", headers: tokenHeader() });
    if (response.ok) return response.json();
    if (response.status !== 503 || attempt === FIRST_TRACE_ATTEMPTS) {
      const answer = (await response.json().catch(() => null)) as { error?: unknown } | null;
      const sentence = `The server of this page answered ${response.status}. Look at the terminal in which it runs.`;
      throw new TraceError(typeof answer?.error === "string" ? answer.error : sentence);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
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
  /** when the run had logged something, as of the last change that came, in milliseconds since 1970 */
  changedAt: number | null;
  /** the same of a change that was made while this page was open, as a run does that goes on */
  grewAt: number | null;
  /** what is wrong, if it is not only the connection */
  problem?: string;
}

/** The connection after a change. A tab that comes back, or a run that ended long ago, is sent what was logged then:
 * `age` is how many seconds ago that was. */
export function afterChange({ changedAt }: Pick<Connection, "changedAt">, age: number | null | undefined, now: number): Connection {
  const loggedAt = now - 1000 * (age ?? 0);
  return { isOpen: true, changedAt: loggedAt, grewAt: changedAt === null ? null : loggedAt }; // the first has the whole document
}

/**
 * Listens to the server of a live page: one stream for each tab, closed while the tab is hidden. A stream that broke off
 * goes on where it stopped. Returns what ends it. A file never changes.
 */
export function subscribe(onChange: (change: Change) => void, onConnection: (state: Connection) => void): () => void {
  if (mode() !== "live") return () => {};
  let changedAt: number | null = null;
  let grewAt: number | null = null;
  return followEvents("/api/events", tokenHeader(), {
    connected: (isOpen) => onConnection({ isOpen, changedAt, grewAt }),
    refused: (problem) => onConnection({ isOpen: false, changedAt, grewAt, problem }),
    message: ({ event, data }) => {
      const { changed, error, age } = JSON.parse(data) as { changed?: Change; error?: string; age?: number | null };
      if (event === "problem" && error) onConnection({ isOpen: false, changedAt, grewAt, problem: error });
      if (!changed) return;
      const connection = afterChange({ changedAt }, age, Date.now());
      ({ changedAt, grewAt } = connection);
      onChange(changed);
      onConnection(connection);
    },
  });
}
