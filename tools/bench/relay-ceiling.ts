import { parentPort, workerData } from "node:worker_threads";
import sodium from "sodium-native";

/** The verification engine alone, in one thread: nothing but libsodium over messages that are in memory. */

export interface CeilingJob {
  readonly forMs: number;
  readonly signed: readonly {
    readonly signature: Uint8Array;
    readonly message: Uint8Array;
    readonly publicKey: Uint8Array;
  }[];
}

const { forMs, signed } = workerData as CeilingJob;
const beginMs = performance.now();
let verified = 0;
while (performance.now() - beginMs < forMs)
  for (let i = 0; i < 64; i++, verified++) {
    const { signature, message, publicKey } = signed[verified % signed.length]!;
    if (!sodium.crypto_sign_verify_detached(signature, message, publicKey))
      throw new Error("a good signature was refused");
  }
parentPort!.postMessage((verified / (performance.now() - beginMs)) * 1000);
