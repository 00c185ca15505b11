import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { buildThread } from "./build-thread.js";
import type { Job, JobAnswer } from "./thread.js";
import { type BatchKey, unpackVerified, type VerifiedBatch } from "./verified.js";

/**
 * Worker threads that examine batches (verified.ts), and the queues in front of them.
 *
 * **Turns.** Each sender has a queue of its own, and the queues take turns: who sends much waits for himself. Who has brought
 * something lately comes first, and finds a place in each thread's hands that nobody else is given; who has sent what does
 * not hold comes last, and has at most one thread at a time.
 *
 * **A thread that dies** takes its jobs down with it: they are given to another, once. A batch that ends two threads is
 * refused, so that no bytes can end all of them for ever.
 *
 * Threads are started when there is work, and do not keep a process alive that has none.
 */

/** Threads at the most, whatever the machine has. */
export const THREADS_MAX = 16;
/** Jobs that a thread has at once: it goes on while this one waits for the disk, and little is lost with it. */
const IN_HAND_MAX = 6;
/** A thread holds a batch and what it makes of it. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 3 } as const;
/** Threads that one job may end. */
const TRIES_MAX = 2;

export interface PoolOptions {
  /** Default as many as the machine runs at once; at most THREADS_MAX. */
  readonly threads?: number;
  /** Told of each thread that died. */
  readonly onDeath?: (error: Error) => void;
  /** JavaScript that answers jobs as thread.ts does, which is the default. */
  readonly program?: () => string;
}

/** In the order in which they are served. */
export const Rank = { proven: 0, unknown: 1, suspect: 2 } as const;
export type Rank = (typeof Rank)[keyof typeof Rank];

export interface Sender {
  readonly name: string;
  readonly rank: Rank;
}

interface Waiting {
  readonly key: BatchKey;
  readonly sequence: Uint8Array;
  readonly rank: Rank;
  readonly resolve: (batch: VerifiedBatch) => void;
  readonly reject: (error: Error) => void;
  tries: number;
}

interface Thread {
  readonly worker: Worker;
  /** Oldest first: it answers in this order. */
  readonly inHand: Waiting[];
}

export class VerifierPool {
  readonly threadsMax: number;
  readonly #onDeath: ((error: Error) => void) | undefined;
  readonly #program: () => string;
  readonly #threads = new Set<Thread>();
  /** By rank. */
  readonly #queues = [new Turns<Waiting>(), new Turns<Waiting>(), new Turns<Waiting>()] as const;
  #closed = false;

  constructor({ threads = availableParallelism(), onDeath, program = buildThread }: PoolOptions = {}) {
    this.threadsMax = Math.max(1, Math.min(THREADS_MAX, threads));
    this.#onDeath = onDeath;
    this.#program = program;
  }

  /** Batches that no thread has yet. */
  get waiting(): number {
    return this.#queues.reduce((sum, { size }) => sum + size, 0);
  }

  /** Examines a batch in its turn. Rejects where the pool is closed, and where examining it fails again and again. */
  verify(key: BatchKey, sequence: Uint8Array, { name, rank }: Sender): Promise<VerifiedBatch> {
    if (this.#closed) return Promise.reject(new Error("the verifier pool is closed"));
    return new Promise((resolve, reject) => {
      this.#queues[rank].add(name, { key, sequence, rank, resolve, reject, tries: 0 });
      this.#deal();
    });
  }

  /** Ends the threads; what waits is rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    const left = [...this.#threads].flatMap(({ inHand }) => inHand.splice(0));
    for (const queue of this.#queues) for (let next = queue.take(); next; next = queue.take()) left.push(next);
    for (const { reject } of left) reject(new Error("the verifier pool is closed"));
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  /** Gives out what waits as far as threads have room. */
  #deal(): void {
    while (!this.#closed) {
      const queue = this.#queues.find(({ size }, rank) => size > 0 && this.#mayServe(rank));
      if (!queue) return;
      const thread = this.#freest();
      if (thread instanceof Error) {
        // Nobody would ever come for what waits.
        queue.take()!.reject(thread);
        continue;
      }
      if (!thread) return;
      const next = queue.take()!;
      thread.inHand.push(next);
      thread.worker.ref();
      const { key, sequence } = next;
      // A copy that is the thread's: the body's own memory may be shared with other requests.
      const job: Job = { kid: key.kid, publicKey: key.publicKey, sequence: sequence.slice() };
      thread.worker.postMessage(job, [job.sequence.buffer as ArrayBuffer]);
    }
  }

  /** Those that are not proven have one place in a thread's hands, suspects one of all. */
  #mayServe(rank: number): boolean {
    if (rank === Rank.proven) return true;
    let inHand = 0;
    for (const thread of this.#threads)
      for (const job of thread.inHand) {
        if (job.rank === Rank.suspect && rank === Rank.suspect) return false;
        if (job.rank !== Rank.proven) inHand++;
      }
    return inHand < this.threadsMax;
  }

  /**
   * An idle thread, else a new one where there may be more, else the one with the least in hand; an error where there is none
   * and the system gives none.
   */
  #freest(): Thread | Error | undefined {
    let best: Thread | undefined;
    for (const thread of this.#threads) if (thread.inHand.length < (best?.inHand.length ?? IN_HAND_MAX)) best = thread;
    if (best?.inHand.length === 0 || this.#threads.size >= this.threadsMax) return best;
    try {
      return this.#start();
    } catch (error) {
      this.#onDeath?.(error as Error);
      return this.#threads.size > 0 ? best : (error as Error);
    }
  }

  #start(): Thread {
    const worker = new Worker(this.#program(), { eval: true, resourceLimits: THREAD_LIMITS });
    const thread: Thread = { worker, inHand: [] };
    worker.unref();
    worker.on("message", (answer: JobAnswer) => this.#answered(thread, answer));
    let cause: Error | undefined;
    worker.on("error", (error: Error) => {
      cause = error;
    });
    worker.on("exit", (code) => {
      if (!this.#closed) this.#onDeath?.(cause ?? new Error(`a verifier thread ended with ${code}`));
      this.#ended(thread);
    });
    this.#threads.add(thread);
    return thread;
  }

  #answered(thread: Thread, answer: JobAnswer): void {
    const done = thread.inHand.shift();
    if (thread.inHand.length === 0) thread.worker.unref();
    this.#deal();
    if (!done) return;
    if ("fault" in answer) done.reject(new Error(answer.fault));
    else done.resolve(unpackVerified(done.sequence, answer));
  }

  #ended(thread: Thread): void {
    this.#threads.delete(thread);
    // Only the one that was being examined can have ended the thread.
    const [examined, ...rest] = thread.inHand.splice(0);
    if (examined && ++examined.tries >= TRIES_MAX) examined.reject(new Error("examining the batch ends its thread"));
    else if (examined) rest.unshift(examined);
    for (const again of rest.reverse()) this.#queues[again.rank].addFirst(again);
    this.#deal();
  }
}

/** Queues that take turns, one for each name. */
class Turns<T> {
  size = 0;
  readonly #queues = new Map<string, T[]>();
  /** Given back: it had its turn. */
  readonly #first: T[] = [];

  add(name: string, item: T): void {
    const queue = this.#queues.get(name);
    if (queue) queue.push(item);
    else this.#queues.set(name, [item]);
    this.size++;
  }

  addFirst(item: T): void {
    this.#first.unshift(item);
    this.size++;
  }

  take(): T | undefined {
    if (this.size === 0) return undefined;
    this.size--;
    const again = this.#first.shift();
    if (again) return again;
    const [name, queue] = this.#queues.entries().next().value!;
    const item = queue.shift()!;
    this.#queues.delete(name);
    // Behind all others, where it has more.
    if (queue.length > 0) this.#queues.set(name, queue);
    return item;
  }
}
