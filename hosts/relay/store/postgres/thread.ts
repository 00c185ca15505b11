import { readFileSync } from "node:fs";
import { connect as openSocket, type Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { type MessagePort, workerData } from "node:worker_threads";
import postgres from "postgres";
import type { Answer, Fault, Order, Rows, Statement, ThreadData, Value } from "./messages.js";
import { type PostgresPlace, passwordOf } from "./place.js";

/**
 * The thread that holds the one connection to PostgreSQL. A connection that is lost is never replaced by itself: what was
 * meant for it, the rest of a transaction, must not reach another.
 */

const { signal, port } = workerData as ThreadData & { readonly port: MessagePort };
const answered = new Int32Array(signal);

/** Statements on their way at once; a transaction's are bounded by the main thread. */
const PIPELINE_MAX = 10_000;
/** Statements sent together. The library stops answering where one of more than its pipeline takes is refused. */
const TOGETHER_MAX = 64;

let sql: postgres.Sql | undefined;
let connection = 0;

port.on("message", (order: Order) => {
  void answer(order).then((message) => {
    port.postMessage(message);
    Atomics.add(answered, 0, 1);
    Atomics.notify(answered, 0);
  });
});

async function answer(order: Order): Promise<Answer> {
  try {
    if (order.kind === "close") {
      await drop(1);
      return { id: order.id, connection: 0, results: [], last: "" };
    }
    if (order.kind === "connect") await connect(order.place, order.timeoutMs, order.parameters);
    else if (order.connection !== connection || !sql)
      return {
        id: order.id,
        fault: { code: "CONNECTION_LOST", message: "the connection was lost before", lost: true },
      };
    else return { id: order.id, connection, ...(await run(sql, order.statements)) };
    return { id: order.id, connection, results: [], last: "" };
  } catch (error) {
    const fault = faultOf(error);
    if (fault.lost) await drop(0);
    return { id: order.id, fault };
  }
}

async function connect(place: PostgresPlace, timeoutMs: number, parameters: Readonly<Record<string, string>>) {
  await drop(0);
  let opened = false;
  const password = passwordOf(place);
  const next = postgres({
    host: place.host,
    port: place.port,
    database: place.database,
    username: place.user,
    ...(password !== undefined && { password }),
    ssl: place.ssl === "disable" ? false : place.ssl === "require" ? "require" : verified(place),
    max: 1,
    max_pipeline: PIPELINE_MAX,
    max_lifetime: null,
    connect_timeout: Math.ceil(timeoutMs / 1000),
    fetch_types: false,
    onnotice: () => undefined,
    onclose: () => {
      if (sql === next) sql = undefined;
    },
    connection: parameters as never,
    types: {
      // Whole numbers beyond 2^53 are none of the store's.
      whole: { to: 20, from: [20, 1700], serialize: String, parse: wholeNumber },
      // Each in memory of its own: a message between threads takes all of the memory that a view is of.
      bytes: { to: 17, from: [17], serialize: hexOf, parse: bytesOf },
    },
    // It opens one connection in its life.
    socket: async () => {
      if (opened) throw Object.assign(new Error("the connection is lost"), { code: "CONNECTION_LOST" });
      opened = true;
      return await socketTo(place, timeoutMs);
    },
  } as postgres.Options<Record<string, postgres.PostgresType>>);
  sql = next;
  connection++;
  try {
    await next.unsafe("SELECT 1");
  } catch (error) {
    await drop(0);
    throw error;
  }
}

function verified({ host, caFile }: PostgresPlace): object {
  return {
    rejectUnauthorized: true,
    // The library tells TLS names, and of an address nothing: the certificate would be held against `localhost`.
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
    ...(caFile !== undefined && { ca: readFileSync(caFile) }),
  };
}

function socketTo({ host, port: number, path }: PostgresPlace, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = path === undefined ? openSocket({ host, port: number }) : openSocket({ path });
    // What the certificate must be of.
    Object.assign(socket, { host });
    socket.setNoDelay(true);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: "CONNECT_TIMEOUT" }));
    }, timeoutMs);
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

async function drop(timeout: number): Promise<void> {
  const former = sql;
  sql = undefined;
  await former?.end({ timeout }).catch(() => undefined);
}

async function run(
  on: postgres.Sql,
  statements: readonly Statement[],
): Promise<{ results: (Rows | undefined)[]; last: string }> {
  const done: postgres.RowList<unknown[][]>[] = [];
  for (let from = 0; from < statements.length; from += TOGETHER_MAX) {
    const sent = statements
      .slice(from, from + TOGETHER_MAX)
      .map(({ text, values }) => on.unsafe(text, values as Value[], { prepare: true }).values());
    const settled = await Promise.allSettled(sent.map(async (query) => await query));
    const failed = settled.find(({ status }) => status === "rejected") as PromiseRejectedResult | undefined;
    if (failed) throw failed.reason;
    for (const each of settled) done.push((each as PromiseFulfilledResult<postgres.RowList<unknown[][]>>).value);
  }
  return {
    results: done.map((rows, i) =>
      statements[i]!.wanted
        ? { columns: (rows.columns ?? []).map(({ name }) => String(name)), rows: [...rows] }
        : undefined,
    ),
    last: done.at(-1)?.command ?? "",
  };
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw new RangeError(`expected a whole number below 2^53, received ${text}`);
  return number;
}

function hexOf(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), "hex"));
}

/** SQLSTATE classes after which the server has ended the connection, or should have: 08 connection, 57P operator. */
function faultOf(error: unknown): Fault {
  const { code = "FAULT", message, severity } = error as { code?: string; message: string; severity?: string };
  const isState = /^[0-9A-Z]{5}$/.test(code) && severity !== undefined;
  return { code, message, lost: !isState || severity === "FATAL" || severity === "PANIC" || /^(?:08|57P)/.test(code) };
}
