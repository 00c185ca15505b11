import { connect } from "node:net";
import { splitBatch } from "tallystick/sync/messages";
import { type Body, must } from "./relay-chain.js";

/**
 * Who sends bodies of records whose signatures do not hold, under keys that are enrolled. It has no HTTP client, for that
 * would cost it more than the bodies cost the relay, on the same machine: each request is bytes that lie ready, on a
 * connection of its own, and of the answer it reads the status, where one comes soon.
 */

export interface Target {
  readonly url: string;
  readonly path: string;
  readonly body: Body;
}

export interface Onslaught {
  readonly signaturesPerSecond: number;
  readonly connections: number;
  /** Loopback addresses that it sends from in turn. */
  readonly addresses: readonly string[];
}

/** An attacker does not wait for what he does not want. */
const PATIENCE_MS = 100;
/** For a connection and a whole request on it; the machine may have little time left for who sends, too. */
const SENDING_MAX_MS = 5000;
/** Behind by more than this, the rest is not caught up with: it was the attacker who was slow. */
const BEHIND_MAX_MS = 1000;

/** Sends until `isOver`; answers what was offered, and how requests ended. */
export async function harass(
  targets: readonly Target[],
  { signaturesPerSecond, connections, addresses }: Onslaught,
  isOver: () => boolean,
): Promise<{ readonly signatures: number; readonly statuses: Readonly<Record<string, number>> }> {
  // Of each chain one body whose signatures all are false, which ends at its first, and one that costs as many verifications
  // as it has records: only the last is false.
  const shots = targets.flatMap(({ url, path, body }) =>
    [0, body.records - 1].map((from) => ({
      bytes: requestOf(url, path, falsified(body, from)),
      records: body.records,
    })),
  );
  const { hostname, port } = new URL(targets[0]!.url);
  const statuses: Record<string, number> = {};
  let beginMs = performance.now();
  let [signatures, inTime, turn] = [0, 0, 0];
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (!isOver()) {
        const { bytes, records } = shots[turn % shots.length]!;
        const localAddress = addresses[turn++ % addresses.length]!;
        inTime += records;
        const aheadMs = (inTime / signaturesPerSecond) * 1000 - (performance.now() - beginMs);
        if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
        else if (aheadMs < -BEHIND_MAX_MS) [beginMs, inTime] = [performance.now(), 0];
        const status = await fire({ host: hostname, port: Number(port), localAddress }, bytes);
        // What was cut off before it was all on its way was not offered.
        if (status !== "unsent") signatures += records;
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    }),
  );
  return { signatures, statuses };
}

/** The answer's status; `unanswered` where none came in time, `unsent` where the request did not leave. */
function fire(to: { host: string; port: number; localAddress: string }, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let isSent = false;
    const socket = connect(to);
    const end = (status: string): void => {
      clearTimeout(patience);
      socket.destroy();
      resolve(status);
    };
    const give = (): void => end(isSent ? "unanswered" : "unsent");
    let patience = setTimeout(give, SENDING_MAX_MS);
    socket.write(bytes, () => {
      isSent = true;
      clearTimeout(patience);
      patience = setTimeout(give, PATIENCE_MS);
    });
    // HTTP/1.1 NNN
    socket.once("data", (answer: Buffer) => end(answer.toString("latin1", 9, 12)));
    socket.once("error", give);
    socket.once("close", give);
  });
}

function requestOf(url: string, path: string, body: Uint8Array): Uint8Array {
  const head =
    `POST ${path} HTTP/1.1\r\nhost: ${new URL(url).host}\r\nconnection: close\r\n` +
    `content-type: application/cbor-seq\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** The signatures from record `from` on do not hold. */
function falsified({ bytes }: Body, from: number): Uint8Array {
  const body = bytes.slice();
  const { records: parts } = must(splitBatch(body));
  for (const part of parts.slice(from)) part[part.length - 40]! ^= 1;
  return body;
}
