import { equalBytes, toHex } from "../bytes/bytes.js";
import { type Code, type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, KeyStore } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { kidOf } from "../identity/key.js";
import type { TreeHead } from "../log/checkpoint.js";
import { formatVerifierKey, parseVerifierKey, SignatureType } from "../log/note.js";
import { type Cbor, CborReader } from "../record/cbor.js";
import { coseKey, publicKeyOf } from "../record/payload.js";
import { isUint, SIGNATURE_BYTES } from "../record/record.js";
import { makeStatement, readStatement, type Statement } from "../record/statement.js";
import { readPin, writePin } from "./acceptance.js";
import { type RelayPins, readRelayPins, treeOf, writeRelayPins } from "./relay-pins.js";

/**
 * How a relay's keys change: statements, each by the device-facing key that was in force before it or by the offline
 * recovery key, and how a device follows them from the keys that it has pinned (SPEC.md).
 */

export const RELAY_KEY_TYP = "application/vnd.tallystick.relay-key+cbor";
/** The longest statement: it leaves 320 characters to an origin. */
export const RELAY_KEY_MAX_BYTES = 1024;
/** Statements in one answer: with the longest of them it is as long as the longest acknowledgement. */
export const RELAY_KEYS_MAX = 16;
/**
 * The recovery key alone begins a range of generations. So whoever has stolen a device-facing key may go on to the end of
 * its range, but never to where no recovery could come after it.
 */
export const GENERATION_RANGE = 1024;

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
/** Why an answer was refused that a device gets which was shown another tree than the relay's. */
const OTHER_TREE: readonly Code[] = ["CONSISTENCY_FALSE", "CHECKPOINT_STALE", "RELAY_BEHIND"];

/** Where a statement of the device-facing key leads; undefined at the end of its range, where only recovery goes on. */
export function nextGeneration(generation: number): number | undefined {
  return (generation + 1) % GENERATION_RANGE === 0 ? undefined : generation + 1;
}

/** Where a statement of the recovery key leads at the least. */
export function recoveredGeneration(generation: number): number {
  return (Math.floor(generation / GENERATION_RANGE) + 1) * GENERATION_RANGE;
}

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
 * The pins that follow from `pins` by one statement. RELAY_KEY_STALE where the device is as far already; RELAY_KEY_FALSE:
 * another relay's, by a key that is not pinned, a generation, recovery key or tree that its signer may not name, a next key
 * that nobody holds; SIGNATURE_INVALID; and the reader's codes.
 */
export function followRelayKey(crypto: Crypto, pins: RelayPins, bytes: Uint8Array): Result<RelayPins> {
  const read = readRelayKey(bytes);
  if (!read.ok) return read;
  const { statement, relayKey, possession } = read.value;
  const { origin, generation, deviceKey } = relayKey;
  if (origin !== pins.origin) return untrue(`the relay ${pins.origin}`, origin);
  if (generation <= pins.generation)
    return fail("RELAY_KEY_STALE", `expected a generation above ${pins.generation}, received ${generation}`);
  const signer = signerOf(crypto, pins, statement.kid);
  if (!signer) return untrue("the signature of a pinned key", `kid ${toHex(statement.kid)}`);
  const recovers = signer === pins.recoveryKey;
  if (recovers && generation % GENERATION_RANGE !== 0)
    return untrue(`a multiple of ${GENERATION_RANGE} as the recovery key's generation`, `${generation}`);
  if (!recovers && generation !== nextGeneration(pins.generation))
    return untrue(`generation ${nextGeneration(pins.generation) ?? "by the recovery key"}`, `${generation}`);
  if (!recovers && relayKey.recoveryKey) return untrue("a recovery key named by itself alone", "one by another");
  if (recovers !== (relayKey.tree !== undefined))
    return untrue("a tree of the recovery key, and of no other", "not so");
  if (!verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, signer))
    return fail("SIGNATURE_INVALID", `the statement of generation ${generation} is not signed by its key`);
  let possessed = false;
  signatureOf(statement.kid, payloadOf(relayKey), (message) => {
    possessed = verifySignature(crypto.ed25519, possession, message, deviceKey);
    return possession;
  });
  if (!possessed) return untrue("a proof that the next key is held", "another");
  const logKey = parseVerifierKey(crypto.sha256, relayKey.logKey);
  if (!logKey.ok) return logKey;
  if (logKey.value.name !== origin || logKey.value.type !== SignatureType.ed25519)
    return untrue(`a log key of ${origin}`, relayKey.logKey);
  const recoveryKey = relayKey.recoveryKey ?? pins.recoveryKey;
  const tree = relayKey.tree ?? pins.tree;
  const rest = { ...(recoveryKey && { recoveryKey }), ...(tree && { tree }) };
  return ok({ origin, generation, deviceKey, logKey: logKey.value, ...rest });
}

function signerOf({ sha256 }: Crypto, { deviceKey, recoveryKey }: RelayPins, kid: Uint8Array): Uint8Array | undefined {
  if (recoveryKey && equalBytes(kid, kidOf(sha256, recoveryKey))) return recoveryKey;
  return equalBytes(kid, kidOf(sha256, deviceKey)) ? deviceKey : undefined;
}

/** The statements of a CBOR sequence, as views. MESSAGE_MALFORMED beyond RELAY_KEYS_MAX, CBOR_INVALID. */
export function splitRelayKeys(bytes: Uint8Array, most = RELAY_KEYS_MAX): Result<Uint8Array[]> {
  const statements: Uint8Array[] = [];
  const reader = new CborReader(bytes);
  while (!reader.atEnd) {
    if (statements.length === most) return fail("MESSAGE_MALFORMED", `expected at most ${most} statements`);
    const start = reader.offset;
    const item = reader.item();
    if (!item.ok) return item;
    statements.push(bytes.subarray(start, reader.offset));
  }
  return ok(statements);
}

/** The pins that a device talks by: its key store's, and where statements lead from there. */
export class FollowedPins {
  /** What is in the key store. */
  pins: RelayPins;
  readonly #crypto: Crypto;
  readonly #keys: KeyStore;
  /** What the newest acknowledgement was, if there was one since the last failure. */
  #newest: "held" | "refused" | "unknown" | undefined;
  /** Since the last acknowledgement that held. */
  #followed = false;

  constructor({
    relay,
    crypto,
    keys,
  }: { readonly relay: RelayPins; readonly crypto: Crypto; readonly keys: KeyStore }) {
    this.pins = relay;
    this.#crypto = crypto;
    this.#keys = keys;
  }

  #write(pins: RelayPins): void {
    writeRelayPins(this.#keys, { ...pins, logKey: formatVerifierKey(pins.logKey) });
  }

  /**
   * Whether the relay is to be asked for statements after a turn that failed: it has answered by other keys, or it answers
   * nothing but that this device knows a larger log, which is so where a thief of its keys has shown one.
   */
  asksAfter(code: Code): boolean {
    const newest = this.#newest;
    this.#newest = undefined;
    return newest === "unknown" || (newest !== "held" && code === "RELAY_BEHIND");
  }

  /**
   * Hears that a turn failed. A device that a thief of the relay's keys had shown another tree cannot be shown that the
   * recovered one continues it: until the first acknowledgement that holds, it takes the tree that the recovery key named.
   */
  failed(code: Code): void {
    const { tree } = this.pins;
    if (!tree || !OTHER_TREE.includes(code)) return;
    const pinned = readPin(this.#keys);
    if (!pinned.ok || pinned.value === undefined) return;
    const { size, root } = pinned.value;
    if (size !== tree.size || !equalBytes(root, tree.root)) writePin(this.#keys, tree);
  }

  /** Hears what became of an acknowledgement by the key that `kid` names. */
  judged(kid: Uint8Array, accepted: Result<unknown>): void {
    if (accepted.ok) this.#followed = false;
    if (accepted.ok && this.pins.tree) {
      // From here on the pinned checkpoint is one of the recovered log, and nothing leads back behind it.
      const { tree, ...pins } = this.pins;
      this.#write(pins);
      this.pins = pins;
    }
    const byAnother = !accepted.ok && !equalBytes(kid, kidOf(this.#crypto.sha256, this.pins.deviceKey));
    const byOthersLog = !accepted.ok && accepted.failure.code === "NOTE_UNSIGNED";
    this.#newest = accepted.ok ? "held" : byAnother || byOthersLog ? "unknown" : "refused";
  }

  /**
   * Follows all that can be followed of the relay's answer, and pins where it leads in one write. Statements that lead
   * nowhere from here are passed over: they may be of a branch that this device was not on. Where all are such, the first
   * one's failure; undefined where there was none; KEY_UNREADABLE where the store does not give back what was written.
   * `again`: no acknowledgement has held since the last time, and whoever asks on and on wears out the store's flash.
   */
  async follow(answer: Uint8Array): Promise<Result<"first" | "again" | undefined>> {
    const statements = splitRelayKeys(answer);
    if (!statements.ok) return statements;
    let [reached, refused]: [RelayPins, Failure | undefined] = [this.pins, undefined];
    for (const bytes of statements.value) {
      // A job of its own each: two signatures to verify take much of a board's stack.
      await undefined;
      const next = followRelayKey(this.#crypto, reached, bytes);
      if (next.ok) reached = next.value;
      else refused ??= next.failure;
    }
    if (reached === this.pins) return refused ? { ok: false, failure: refused } : ok(undefined);
    await undefined;
    this.#write(reached);
    const written = readRelayPins(this.#keys, this.#crypto.sha256);
    if (!written.ok) return written;
    if (written.value.generation !== reached.generation)
      return fail("KEY_UNREADABLE", `expected the pins of generation ${reached.generation}, received others`);
    this.pins = written.value;
    const again = this.#followed;
    this.#followed = true;
    return ok(again ? "again" : "first");
  }
}

function malformed(expected: string, received: string): Result<never> {
  return fail("STATEMENT_MALFORMED", `expected ${expected}, received ${received}`);
}

function untrue(expected: string, received: string): Result<never> {
  return fail("RELAY_KEY_FALSE", `expected ${expected}, received ${received}`);
}
