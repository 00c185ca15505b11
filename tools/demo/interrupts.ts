/** Of a terminal's or a service manager's ways to ask for an end. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const INTERRUPTED_STATUS = 130;

/** The first interrupt asks for an orderly end, a second one for an end at once: then `close` is run, and the process ends. */
export class Interrupts {
  /** So many so far. */
  count = 0;
  readonly #stop = new AbortController();
  readonly #close: () => Promise<void>;

  constructor(close: () => Promise<void>) {
    this.#close = close;
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  /** Aborted by the first interrupt, or by `stop`. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** As the first interrupt does, without one. */
  stop(): void {
    this.#stop.abort();
  }

  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  readonly #onSignal = (): void => {
    this.count++;
    this.#stop.abort();
    if (this.count > 1) void this.#close().finally(() => process.exit(INTERRUPTED_STATUS));
  };
}

/** Resolves after so long, or as soon as `signal` is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
    function end(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      done();
    }
  });
}
