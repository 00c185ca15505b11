/** Real records, one chain of one key: genesis and readings, as a device signs them. */

import { kidOf } from "tallystick/identity/key";
import { encodeCbor } from "tallystick/record/cbor";
import { encodeBody, Kind, readBody, recordId, toBeSigned } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";

export function makeRecords(count: number, seedByte = 9): Uint8Array[] {
  const { ed25519, sha256 } = relayCrypto;
  const seed = new Uint8Array(32).fill(seedByte);
  const publicKey = ed25519.publicKey(seed);
  const kid = kidOf(sha256, publicKey);
  const records: Uint8Array[] = [];
  let prev: Uint8Array = new Uint8Array(32);
  for (let seq = 0; seq < count; seq++) {
    const kind = seq === 0 ? Kind.genesis : Kind.readings;
    const payload =
      seq === 0
        ? encodeCbor(new Map([[1, "model"]]))
        : encodeCbor([
            new Map<number, string | number>([
              [2, 20 + seq / 8],
              [-2, "temperature"],
              [-4, "Cel"],
            ]),
          ]);
    const body = encodeBody({ kid, kind, boot: 0, seq, prev, uptimeMs: seq * 1000, clock: 0 }, payload);
    const parts = readBody(body);
    if (!parts.ok) throw new Error(parts.failure.detail);
    const signature = ed25519.sign(toBeSigned(parts.value), seed, publicKey);
    const record = new Uint8Array(Buffer.concat([body, signature]));
    records.push(record);
    prev = recordId(sha256, record);
  }
  return records;
}
