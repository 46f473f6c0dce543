// Long computations on the page's own thread: they pause every few milliseconds, so that the page stays responsive.
// A worker would need a script of its own, which the page's content security policy does not allow.

const MOST_MILLISECONDS = 30; // between two pauses; browsers call 50 a long task

export class Cancelled extends Error {}

export class Pacer {
  private isCancelled = false;
  private lastPause = performance.now();

  /** The computation ends with `Cancelled` at its next pause. */
  cancel(): void {
    this.isCancelled = true;
  }

  get isDue(): boolean {
    return performance.now() - this.lastPause > MOST_MILLISECONDS;
  }

  /** Let the page draw and answer. */
  async pause(): Promise<void> {
    await nextTask();
    if (this.isCancelled) throw new Cancelled("A newer text has taken the place of this one.");
    this.lastPause = performance.now();
  }
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel(); // without the delay that nested timers get
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
