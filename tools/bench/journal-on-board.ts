import { concatBytes, equalBytes } from "tallystick/bytes/bytes";
import { explain, ok, type Result } from "tallystick/codes/codes";
import type { Flash } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import { encodeBody, Kind } from "tallystick/record/record";
import { sha256 as nativeSha256 } from "tallystick-native";
import { call, onEvent } from "wire";

/** What the bench runs on a board's engine: a journal whose flash is on the other side of the wire. */

/** Operations of the wire, beside the engine's own. */
const READ = 20;
const WRITE = 21;
const ERASE = 22;

const RECORD_BYTES = 160;
const REPLY_BYTES = 64;

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(nativeSha256(bytes));

const key = new Uint8Array(32);
const signed = (message: Uint8Array): Uint8Array => concatBytes(sha256(concatBytes(key, message)), sha256(message));
const signer = {
  kid: key.slice(0, 8),
  sign: (message: Uint8Array) => ok(signed(message)),
  verify: (message: Uint8Array, signature: Uint8Array) => equalBytes(signed(message), signature),
};

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setUint32(4 * i, values[i]!);
  return bytes;
}

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(explain(result.failure));
  return result.value;
}

let journal: Journal | undefined;

/** The event: what to do, the partition's size, its write unit, how many records; a byte and three numbers. */
onEvent((event) => {
  const view = new DataView(event);
  const sizeBytes = view.getUint32(1);
  const writeUnitBytes = view.getUint32(5);
  const count = view.getUint32(9);
  // 0: the board idles, with everything loaded.
  if (view.getUint8(0) === 0) return;
  const flash: Flash = {
    sizeBytes,
    sectorBytes: 4096,
    writeUnitBytes,
    read: (offset, into) => {
      // In parts: the wire's reply is a buffer of its own, which a board's flash does not need.
      for (let done = 0; done < into.length; done += REPLY_BYTES) {
        const length = Math.min(REPLY_BYTES, into.length - done);
        into.set(new Uint8Array(call(READ, words(offset + done, length))), done);
      }
    },
    write: (offset, bytes) => void call(WRITE, concatBytes(words(offset), bytes)),
    erase: (sector) => void call(ERASE, words(sector)),
  };
  journal = must(Journal.mount({ flash, sha256, signers: [signer] }));
  for (let n = 0; n < count; n++) {
    const { head } = journal;
    const header = {
      kid: signer.kid,
      kind: head ? Kind.readings : Kind.genesis,
      boot: 0,
      seq: head ? head.seq + 1 : 0,
      prev: head ? head.id : new Uint8Array(32),
      uptimeMs: 180_000,
      clock: 0 as const,
    };
    const bare = encodeBody(header, new Uint8Array(0)).length;
    const body = encodeBody(header, new Uint8Array(Math.max(0, RECORD_BYTES - 64 - bare - 1)));
    const position = must(journal.commit(body));
    must(journal.record(position.seq));
    must(journal.release(position));
  }
});
