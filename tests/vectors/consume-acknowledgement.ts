import { fromHex, toHex } from "tallystick/bytes/bytes";
import type { Result } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { Identity } from "tallystick/identity/identity";
import { parseVerifierKey } from "tallystick/log/note";
import { encodeCbor } from "tallystick/record/cbor";
import { type AcceptanceOptions, accept } from "tallystick/sync/acceptance";
import { makeAcknowledgement, type Position, readAcknowledgement } from "tallystick/sync/messages";

export interface AcknowledgementVectors {
  readonly relayPublicKey: string;
  readonly vkey: string;
  readonly pinned: { readonly size: number; readonly root: string };
  readonly kid: string;
  readonly nonce: string;
  readonly levels: Readonly<Record<"received" | "logged" | "final", number>>;
  readonly acknowledgement: string;
  readonly erased: Readonly<Record<"head" | "seq", number> & Record<"relaySeed" | "acknowledgement", string>>;
}

interface Records {
  readonly records: readonly { readonly id: string }[];
}

export function consumeAcknowledgements(
  crypto: Crypto,
  vector: AcknowledgementVectors,
  { records }: Records,
): string[] {
  const logKey = parseVerifierKey(crypto.sha256, vector.vkey);
  if (!logKey.ok) return [`vkey ${logKey.failure.code}`];
  const stored = new Map<string, Uint8Array>();
  const options: AcceptanceOptions = {
    crypto,
    kid: fromHex(vector.kid)!,
    relay: {
      origin: logKey.value.name,
      deviceKey: fromHex(vector.relayPublicKey)!,
      logKey: logKey.value,
      generation: 0,
    },
    keys: {
      read: (name: string) => stored.get(name),
      write: (name: string, value: Uint8Array) => void stored.set(name, value),
      delete: (name: string) => void stored.delete(name),
    },
    ownId: (seq: number) => fromHex(records[seq]!.id)!,
    lastSeq: records.length - 1,
  };
  const request = { nonce: fromHex(vector.nonce)!, pinnedSize: vector.pinned.size };
  const pin = () => stored.set("pin", encodeCbor([vector.pinned.size, fromHex(vector.pinned.root)!]));
  const positionAt = (seq: number): Position => ({ seq, id: fromHex(records[seq]!.id)! });
  pin();
  const bytes = fromHex(vector.acknowledgement)!;
  const changed = bytes.slice();
  changed[changed.length - 1]! ^= 1;
  const lines = [
    `stale ${outcome(accept(options, { ...request, nonce: new Uint8Array(16) }, bytes))}`,
    `foreign ${outcome(accept({ ...options, ownId: () => new Uint8Array(32) }, request, bytes))}`,
    `forged ${outcome(accept(options, request, changed))}`,
  ];
  const accepted = accept(options, request, bytes);
  if (!accepted.ok) return [...lines, `acknowledgement ${accepted.failure.code} ${accepted.failure.detail}`];
  const { received, logged, final } = accepted.value;
  lines.push(
    `acknowledgement ${received?.seq === vector.levels.received} ${logged?.seq === vector.levels.logged} ${final?.seq === vector.levels.final}`,
    `pinned ${toHex(stored.get("pin")!)}`,
  );
  // The same with label 11: made again by the relay's key, and accepted only where it answers a head below what was erased.
  const { erased } = vector;
  const withErased = fromHex(erased.acknowledgement)!;
  const relay = Identity.ofSeed(fromHex(erased.relaySeed)!, crypto);
  const signed = (content: Uint8Array) => {
    const signature = relay.sign(content);
    return signature.ok ? signature.value : new Uint8Array(64);
  };
  const made = (erasedSeq: number) => makeAcknowledgement(relay.kid, { ...accepted.value, erasedSeq }, signed);
  const read = readAcknowledgement(withErased);
  const isRead = read.ok && read.value.acknowledgement.erasedSeq === erased.seq;
  lines.push(`erased made ${toHex(made(erased.seq)) === erased.acknowledgement} read ${isRead}`);
  for (const head of [undefined, erased.head, erased.seq - 1, erased.seq, vector.levels.received]) {
    pin();
    const asked = head === undefined ? request : { ...request, head: positionAt(head) };
    lines.push(`erased asked from ${head ?? "none"} ${outcome(accept(options, asked, withErased))}`);
  }
  for (const erasedSeq of [0, 1, vector.levels.received, vector.levels.received + 1, 2 ** 32]) {
    pin();
    lines.push(`erased at ${erasedSeq} ${outcome(accept(options, request, made(erasedSeq)))}`);
  }
  return lines;
}

function outcome(result: Result<unknown>): string {
  return result.ok ? "accepted" : `${result.failure.code} ${result.failure.detail}`;
}
