/** Time as a world has it: real, or virtual time that jumps to the next thing that happens. */
export interface Time {
  /** Whole milliseconds since 1970-01-01T00:00Z, monotonic. */
  nowMs(): number;
  /** Calls back once when `timeMs` has come, at once when it has passed. The callback must not fail. Returns what cancels it. */
  at(timeMs: number, callback: () => void | Promise<void>): () => void;
}

/** Longest delay that setTimeout keeps. */
const TIMEOUT_MAX_MS = 0x7fff_ffff;

/** The machine's own time, kept monotonic where the machine's clock is set back. */
export class WallTime implements Time {
  readonly #startMs = Date.now();
  readonly #origin = process.hrtime.bigint();

  nowMs(): number {
    return this.#startMs + Number((process.hrtime.bigint() - this.#origin) / 1_000_000n);
  }

  at(timeMs: number, callback: () => void | Promise<void>): () => void {
    let timeout: NodeJS.Timeout;
    const arm = () => {
      const delayMs = timeMs - this.nowMs();
      // setTimeout may fire up to a millisecond early: whatever is left is waited for again.
      timeout = setTimeout(() => (this.nowMs() >= timeMs ? void callback() : arm()), clamp(delayMs));
    };
    arm();
    return () => clearTimeout(timeout);
  }
}

function clamp(delayMs: number): number {
  return Math.min(Math.max(delayMs, 0), TIMEOUT_MAX_MS);
}

/** More callbacks than this at one millisecond mean that something never lets time pass. */
export const CALLBACKS_MAX_AT_ONE_TIME = 100_000;

interface Entry {
  readonly timeMs: number;
  readonly order: number;
  readonly callback: () => void | Promise<void>;
}

/**
 * Time that stands still while anything runs and jumps to the next callback when nothing does. Callbacks of one
 * millisecond run one after the other in the order in which they were asked for; one that waits for something real (an
 * answer of a relay) holds virtual time while it waits.
 */
export class VirtualTime implements Time {
  #nowMs: number;
  #order = 0;
  /** A binary heap by time, then by order. */
  readonly #heap: Entry[] = [];
  readonly #cancelled = new Set<Entry>();
  #running = false;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  at(timeMs: number, callback: () => void | Promise<void>): () => void {
    const entry = { timeMs: Math.max(timeMs, this.#nowMs), order: this.#order++, callback };
    this.#push(entry);
    return () => {
      this.#cancelled.add(entry);
    };
  }

  /** Lets time pass up to `untilMs`, or until `stop` says so after some callback. */
  async run(untilMs: number, stop: () => boolean = () => false): Promise<void> {
    if (this.#running) throw new Error("virtual time runs already");
    this.#running = true;
    try {
      let callbacks = 0;
      while (!stop()) {
        const next = this.#heap[0];
        if (next === undefined || next.timeMs > untilMs) {
          this.#nowMs = Math.max(this.#nowMs, untilMs);
          return;
        }
        this.#pop();
        if (this.#cancelled.delete(next)) continue;
        callbacks = next.timeMs > this.#nowMs ? 0 : callbacks + 1;
        if (callbacks > CALLBACKS_MAX_AT_ONE_TIME)
          throw new Error(`more than ${CALLBACKS_MAX_AT_ONE_TIME} callbacks at ${this.#nowMs} ms: time does not pass`);
        this.#nowMs = Math.max(this.#nowMs, next.timeMs);
        await next.callback();
      }
    } finally {
      this.#running = false;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent]!, entry)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (before(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}
