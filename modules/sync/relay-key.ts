import { equalBytes, toHex } from "../bytes/bytes.js";
import { type Code, type Failure, fail, ok, type Result } from "../codes/codes.js";
import type { Crypto, KeyStore, Sha256 } from "../identity/crypto.js";
import { kidOf } from "../identity/key.js";
import { formatVerifierKey, parseVerifierKey, SignatureType } from "../log/note.js";
import { readRelayKey, verifyRelayKey } from "../log/relay-key.js";
import { CborReader } from "../record/cbor.js";
import { readPin, writePin } from "./acceptance.js";
import { type RelayPins, readRelayPins, writeRelayPins } from "./relay-pins.js";

/** How a device follows the statements by which its relay's keys change, from the keys that it has pinned (SPEC.md). */

/** Statements in one answer: with the longest of them it is as long as the longest acknowledgement. */
export const RELAY_KEYS_MAX = 16;
/**
 * The recovery key alone begins a range of generations. So whoever has stolen a device-facing key may go on to the end of
 * its range, but never to where no recovery could come after it.
 */
export const GENERATION_RANGE = 1024;

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

/**
 * The pins that follow from `pins` by one statement. RELAY_KEY_STALE where the device is as far already; RELAY_KEY_FALSE:
 * another relay's, by a key that is not pinned, a generation, recovery key or tree that its signer may not name, a next key
 * that nobody holds; SIGNATURE_INVALID; and the reader's codes.
 */
export function followRelayKey(crypto: Crypto, pins: RelayPins, bytes: Uint8Array): Result<RelayPins> {
  const read = readRelayKey(bytes);
  if (!read.ok) return read;
  const { statement, relayKey } = read.value;
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
  const verified = verifyRelayKey(crypto, read.value, signer);
  if (!verified.ok) return verified;
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

/** What a device says in its log of the keys that it has come to. */
export function relayKeyLine(sha256: Sha256, { generation, deviceKey }: RelayPins): string {
  return `event=relay-key generation=${generation} kid=${toHex(kidOf(sha256, deviceKey))}`;
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

function untrue(expected: string, received: string): Result<never> {
  return fail("RELAY_KEY_FALSE", `expected ${expected}, received ${received}`);
}
