import { parentPort } from "node:worker_threads";
import { relayCrypto } from "../crypto.js";
import { type BatchKey, type PackedBatch, verifyPacked } from "./verified.js";

/** What a worker thread does: examines one batch after the other. */

export interface Job extends BatchKey {
  readonly sequence: Uint8Array;
}

/** A job's answer; `fault` where examining it threw, which no bytes should be able to cause. */
export type JobAnswer = PackedBatch | { readonly fault: string };

const port = parentPort!;

port.on("message", ({ kid, publicKey, sequence }: Job) => {
  port.postMessage(examine({ kid, publicKey }, sequence));
});

function examine(key: BatchKey, sequence: Uint8Array): JobAnswer {
  try {
    return verifyPacked(relayCrypto, key, sequence);
  } catch (error) {
    return { fault: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
