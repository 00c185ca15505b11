import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import type { Cbor } from "../record/cbor.js";
import { coseKey, publicKeyOf } from "../record/payload.js";
import { ID_BYTES, isUint, SIGNATURE_BYTES } from "../record/record.js";
import { makeStatement, readStatement, type Statement } from "../record/statement.js";
import type { TreeHead } from "./checkpoint.js";

/**
 * The statement by which a relay's keys change: by the device-facing key that was in force before it, or by the offline
 * recovery key (sync/SPEC.md). What a device makes of it is sync/relay-key.ts, what a reader of evidence, evidence/keys.ts.
 */

export const RELAY_KEY_TYP = "application/vnd.tallystick.relay-key+cbor";
/** The longest statement: it leaves 320 characters to an origin. */
export const RELAY_KEY_MAX_BYTES = 1024;
/** What is in force from a generation on: all of it, so that who passes over statements misses nothing. */
export interface RelayKeyStatement {
  /** The relay's origin. */
  readonly origin: string;
  readonly generation: number;
  /** The next device-facing key, 32 bytes. */
  readonly deviceKey: Uint8Array;
  /** The log's verifier key line from here on. */
  readonly logKey: string;
  /** The next recovery key, 32 bytes; only in statements by the recovery key. Absent: it stays. */
  readonly recoveryKey?: Uint8Array;
  /** The tree that the log goes on from; in all statements by the recovery key, and in no others. */
  readonly tree?: TreeHead;
}

/** Payload labels. */
const Label = { origin: 1, generation: 2, deviceKey: 3, logKey: 4, recoveryKey: 5, possession: 6, tree: 7 } as const;

/** Makes the statement. `sign` is the signer's, `signNext` that of the next device-facing key. */
export function makeRelayKey(
  signerKid: Uint8Array,
  statement: RelayKeyStatement,
  sign: (bytes: Uint8Array) => Uint8Array,
  signNext: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const payload = payloadOf(statement);
  payload.set(Label.possession, signatureOf(signerKid, payload, signNext));
  return makeStatement(RELAY_KEY_TYP, signerKid, payload, sign);
}

function payloadOf(statement: RelayKeyStatement): Map<number, Cbor> {
  const payload = new Map<number, Cbor>([
    [Label.origin, statement.origin],
    [Label.generation, statement.generation],
    [Label.deviceKey, coseKey(statement.deviceKey)],
    [Label.logKey, statement.logKey],
  ]);
  if (statement.recoveryKey) payload.set(Label.recoveryKey, coseKey(statement.recoveryKey));
  if (statement.tree) payload.set(Label.tree, [statement.tree.size, statement.tree.root]);
  return payload;
}

/** What `sign` makes of the payload under this statement's own header; the proof of possession is over it without itself. */
function signatureOf(kid: Uint8Array, payload: Map<number, Cbor>, sign: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  let signature: Uint8Array | undefined;
  makeStatement(RELAY_KEY_TYP, kid, payload, (bytes) => {
    signature = sign(bytes);
    return signature;
  });
  return signature!;
}

export interface ReadRelayKey {
  readonly statement: Statement;
  readonly relayKey: RelayKeyStatement;
  /** By the next device-facing key. */
  readonly possession: Uint8Array;
}

/** Takes a statement apart; whose it is, and whether it holds, is for `followRelayKey`. STATEMENT_MALFORMED, CBOR_INVALID. */
export function readRelayKey(bytes: Uint8Array): Result<ReadRelayKey> {
  if (bytes.length > RELAY_KEY_MAX_BYTES) return malformed(`at most ${RELAY_KEY_MAX_BYTES} bytes`, `${bytes.length}`);
  const statement = readStatement(RELAY_KEY_TYP, bytes);
  if (!statement.ok) return statement;
  const map = statement.value.payload;
  const [origin, generation, logKey] = [map.get(Label.origin), map.get(Label.generation), map.get(Label.logKey)];
  const deviceKey = publicKeyOf(map.get(Label.deviceKey));
  const recoveryKey = publicKeyOf(map.get(Label.recoveryKey));
  const possession = map.get(Label.possession);
  const tree = treeOf(map.get(Label.tree));
  if (typeof origin !== "string" || typeof logKey !== "string" || !deviceKey)
    return malformed("origin, next device-facing key and log key", "another payload");
  if (!isUint(generation) || generation === 0) return malformed("a generation of at least 1", "another");
  if (!(possession instanceof Uint8Array) || possession.length !== SIGNATURE_BYTES)
    return malformed("a proof of possession of 64 bytes", "another");
  if (map.size !== 5 + (recoveryKey ? 1 : 0) + (tree ? 1 : 0)) return malformed("the labels 1 to 7", "others");
  const rest = { ...(recoveryKey && { recoveryKey }), ...(tree && { tree }) };
  const relayKey = { origin, generation, deviceKey, logKey, ...rest };
  return ok({ statement: statement.value, relayKey, possession });
}

/**
 * Whether `signer` has signed the statement, and the next device-facing key has, too: SIGNATURE_INVALID, RELAY_KEY_FALSE.
 * That its kid is the signer's, and whether that one may, is the caller's to see.
 */
export function verifyRelayKey(crypto: Crypto, read: ReadRelayKey, signer: Uint8Array): Result<void> {
  const { statement, relayKey, possession } = read;
  if (!verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, signer))
    return fail("SIGNATURE_INVALID", `the statement of generation ${relayKey.generation} is not signed by its key`);
  let possessed = false;
  signatureOf(statement.kid, payloadOf(relayKey), (message) => {
    possessed = verifySignature(crypto.ed25519, possession, message, relayKey.deviceKey);
    return possession;
  });
  if (possessed) return ok(undefined);
  return fail("RELAY_KEY_FALSE", "expected a proof that the next key is held, received another");
}

/** Size and root, where the value is such a pair. */
export function treeOf(value: Cbor | undefined): TreeHead | undefined {
  const [size, root] = Array.isArray(value) && value.length === 2 ? (value as Cbor[]) : [];
  return isUint(size) && root instanceof Uint8Array && root.length === ID_BYTES
    ? { size, root: root.slice() }
    : undefined;
}

function malformed(expected: string, received: string): Result<never> {
  return fail("STATEMENT_MALFORMED", `expected ${expected}, received ${received}`);
}
