import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { buildThread } from "./build-thread.js";
import type { Answer, Order, Rows, Statement } from "./messages.js";
import type { PostgresPlace } from "./place.js";

/**
 * A connection to PostgreSQL for a thread that waits for its answers: the store is written for a database that answers at
 * once, and so it stays one. A thread holds the connection; this one sleeps until it has the answer. What is asked together
 * is sent together, so that a transaction of a hundred records is a few round trips.
 */

/** Of the connection being made, authentication included. */
const CONNECT_MAX_MS = 3000;
/** How long a statement may take, and how long it may wait for another process's transaction, at the server. */
export const STATEMENT_MAX_MS = 15_000;
export const LOCK_MAX_MS = 5000;
/** A process that stops in the middle of a transaction lets the others go on after so long. */
const IDLE_IN_TRANSACTION_MAX_MS = 20_000;
/** What is waited for an answer where neither server nor system says that the connection is gone. */
const ANSWER_MAX_MS = STATEMENT_MAX_MS + 5000;

/** What PostgreSQL, or the way to it, refuses. The message is for the relay's log, never for an answer. */
export class PostgresError extends Error {
  override readonly name = "PostgresError";

  /** `code`: SQLSTATE, or what the connection ended with. */
  constructor(
    readonly code: string,
    message: string,
    /** The connection is gone: whether a transaction that was being committed has been is not known. */
    readonly lost: boolean,
  ) {
    super(message);
  }
}

export interface Ran {
  readonly results: readonly (Rows | undefined)[];
  /** What the last statement was to the server. */
  readonly last: string;
}

export class Bridge {
  readonly #place: PostgresPlace;
  readonly #program: () => string;
  #thread: { readonly worker: Worker; readonly port: MessagePort; readonly answered: Int32Array } | undefined;
  #id = 0;

  constructor(place: PostgresPlace, program: () => string = buildThread) {
    this.#place = place;
    this.#program = program;
  }

  /** Makes a connection, on which nothing can be written where it `readsOnly`; its number. */
  connect(name: string, readsOnly = false): number {
    const parameters = {
      ...(readsOnly && { default_transaction_read_only: "on" }),
      application_name: name,
      synchronous_commit: "on",
      statement_timeout: String(STATEMENT_MAX_MS),
      lock_timeout: String(LOCK_MAX_MS),
      idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MAX_MS),
      // The store's tables and nobody else's of the same names.
      search_path: "public",
      client_encoding: "UTF8",
      bytea_output: "hex",
    };
    const answer = this.#ask(
      { kind: "connect", place: this.#place, timeoutMs: CONNECT_MAX_MS, parameters },
      2 * CONNECT_MAX_MS + 2000,
    );
    return answer.connection;
  }

  run(connection: number, statements: readonly Statement[]): Ran {
    return this.#ask({ kind: "run", connection, statements }, ANSWER_MAX_MS);
  }

  close(): void {
    if (!this.#thread) return;
    try {
      this.#ask({ kind: "close" }, CONNECT_MAX_MS);
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error;
    }
    this.#end();
  }

  #ask(order: DistributiveOmit<Order, "id">, waitMs: number): Exclude<Answer, { readonly fault: unknown }> {
    this.#thread ??= this.#start();
    const { port, answered } = this.#thread;
    const id = ++this.#id;
    port.postMessage({ id, ...order });
    const until = performance.now() + waitMs;
    for (;;) {
      const seen = Atomics.load(answered, 0);
      const received = receiveMessageOnPort(port) as { message: Answer } | undefined;
      if (received?.message.id === id) {
        if (!("fault" in received.message)) return received.message;
        const { code, message, lost } = received.message.fault;
        throw new PostgresError(code, message, lost);
      }
      if (received) continue;
      const leftMs = until - performance.now();
      if (leftMs <= 0) {
        // Whatever comes of it now, nobody waits for it: the thread's end is the connection's.
        this.#end();
        throw new PostgresError("ANSWER_TIMEOUT", `no answer within ${waitMs} ms`, true);
      }
      Atomics.wait(answered, 0, seen, leftMs);
    }
  }

  #start() {
    const signal = new SharedArrayBuffer(4);
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(this.#program(), {
      eval: true,
      workerData: { signal, port: port2 },
      transferList: [port2],
    });
    // A thread that failed does not answer, and is replaced then.
    worker.on("error", () => undefined);
    worker.unref();
    port1.unref();
    return { worker, port: port1, answered: new Int32Array(signal) };
  }

  #end(): void {
    void this.#thread?.worker.terminate();
    this.#thread?.port.close();
    this.#thread = undefined;
  }
}

type DistributiveOmit<T, Key extends PropertyKey> = T extends unknown ? Omit<T, Key> : never;
