/** Server-sent events read with fetch: unlike EventSource it can send the token in a header. */

export interface Message {
  id: string | null;
  event: string;
  data: string;
}

export interface Listener {
  message(message: Message): void;
  connected(isConnected: boolean): void;
  /** the server will not answer this page again, and says why */
  refused(sentence: string): void;
}

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;
const LONGEST_SILENCE = 40_000; // the server says something every 15 seconds

/**
 * Follows the events at `path` until the returned function is called. After a break it goes on behind the last id, first
 * at once and then after longer and longer waits. It does not while the page is hidden: a browser opens six connections
 * to one host, and every tab would keep one. It ends where the server refuses the token, which no further try changes.
 */
export function followEvents(path: string, headers: Record<string, string>, listener: Listener): () => void {
  let request = new AbortController();
  let isStopped = false;
  let lastId: string | null = null;

  /** Reads one stream to its end. Returns whether it is worth another. */
  async function read(): Promise<boolean> {
    request = new AbortController();
    const cut = () => request.abort();
    let timer = setTimeout(cut, LONGEST_SILENCE);
    try {
      const resume: Record<string, string> = lastId === null ? {} : { "Last-Event-ID": lastId };
      const answer = await fetch(path, { headers: { ...headers, ...resume }, signal: request.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) {
        listener.refused(((await answer.json()) as { error: string }).error);
        return false;
      }
      if (!answer.ok || answer.body === null) return true;
      listener.connected(true);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return true;
        clearTimeout(timer);
        timer = setTimeout(cut, LONGEST_SILENCE);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const message of blocks.map(parse)) {
          if (message === null) continue;
          lastId = message.id ?? lastId;
          listener.message(message);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async function follow(): Promise<void> {
    for (let wait = FIRST_WAIT; !isStopped; ) {
      await whenShown();
      const began = Date.now();
      const isWorthAnother = await read().catch(() => true); // the server is gone, or the stream was cut
      if (isStopped || !isWorthAnother) return;
      listener.connected(false);
      if (document.hidden) continue;
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Date.now() - began > LONGEST_SILENCE ? FIRST_WAIT : Math.min(2 * wait, LONGEST_WAIT);
    }
  }

  const onVisibility = () => {
    if (document.hidden) request.abort();
  };
  document.addEventListener("visibilitychange", onVisibility);
  void follow();
  return () => {
    isStopped = true;
    document.removeEventListener("visibilitychange", onVisibility);
    request.abort();
  };
}

function whenShown(): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    check();
  });
}

/** The fields of a message; null for a comment. */
function parse(block: string): Message | null {
  const fields = new Map(block.split("\n").map((line) => [line.split(":", 1)[0] ?? "", line.slice(line.indexOf(":") + 1).trim()]));
  const data = fields.get("data");
  return data === undefined ? null : { id: fields.get("id") ?? null, event: fields.get("event") ?? "message", data };
}
