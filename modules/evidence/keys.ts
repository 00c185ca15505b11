import { equalBytes, toHex } from "../bytes/bytes.js";
import { checkRevocation, revokersOf } from "../chain/revocation.js";
import { type Failure, fail } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { didKey, kidOf } from "../identity/key.js";
import { type ReadRelayKey, readRelayKey, verifyRelayKey } from "../log/relay-key.js";
import { type Genesis, readGenesis, readRotate } from "../record/payload.js";
import { Kind, type Record, recordId, toBeSigned } from "../record/record.js";
import type { Bundle } from "./bundle.js";
import type { Policy } from "./policy.js";
import { type Vouching, vouchingOf } from "./vouching.js";

/**
 * Whose keys signed the records of an evidence file: what genesis records announce, which key a rotation has handed a
 * device on to, and from where on a key's word does not count.
 */

/** The most rotations between a key and the one that the policy knows. */
export const ROTATIONS_MAX = 64;

/** Where a key's word ends: the first position that does not count, the last one of its chain; infinite where it does not. */
interface Ending {
  readonly revokedFrom: number;
  readonly rotatedAt: number;
}

export class KeyBook {
  readonly #crypto: Crypto;
  readonly #policy: Policy;
  readonly #keys: Uint8Array[] = [];
  readonly #vouchings: Vouching[] = [];
  /** Why a maker's word in a genesis record does not hold. */
  readonly #untrue = new Map<Record, Failure>();
  readonly #records: readonly Record[];
  readonly #revocations: readonly Uint8Array[];
  readonly #relayKeys: readonly ReadRelayKey[];
  /** What was found for each key so far, by its kid: a file may hold a thousand records of one. */
  readonly #endings = new Map<string, Ending>();

  /** `records` as far as they could be read; nothing of the file is believed before it is checked. */
  constructor(
    crypto: Crypto,
    policy: Policy,
    records: readonly Record[],
    { revocations = [], relayKeys = [] }: Pick<Bundle, "revocations" | "relayKeys">,
  ) {
    this.#crypto = crypto;
    this.#policy = policy;
    this.#records = records;
    this.#revocations = revocations;
    this.#relayKeys = relayKeys.flatMap((bytes) => {
      const read = readRelayKey(bytes);
      return read.ok ? [read.value] : [];
    });
    for (const record of records) {
      const genesis = record.header.kind === Kind.genesis ? readGenesis(record.payload) : undefined;
      if (genesis?.ok) this.#keys.push(genesis.value.publicKey);
      const vouching = vouchingOf(crypto, policy.makers, record);
      if (vouching?.ok) this.#vouchings.push(vouching.value);
      else if (vouching) this.#untrue.set(record, vouching.failure);
    }
    this.#keys.push(...policy.devices, ...policy.revoked.map(({ device }) => device));
  }

  /** The public key that a kid names, out of genesis records and the policy; undefined where neither has it. */
  keyOf(kid: Uint8Array): Uint8Array | undefined {
    return this.#keys.find((key) => equalBytes(kidOf(this.#crypto.sha256, key), kid));
  }

  /**
   * Why a record does not count though its signature holds: KEY_REVOKED, CHAIN_CLOSED, CHAIN_FORK where the file has
   * another one by the same key at its position; undefined where it counts.
   */
  objection(record: Record): Failure | undefined {
    const { kid, seq } = record.header;
    const { revokedFrom, rotatedAt } = this.#endingOf(kid);
    if (seq >= revokedFrom) return fail("KEY_REVOKED", `the key is revoked from seq ${revokedFrom} on`).failure;
    if (seq > rotatedAt) return fail("CHAIN_CLOSED", `the rotation at seq ${rotatedAt} ended the chain`).failure;
    const twin = this.#records.find(
      (other) =>
        other.header.seq === seq &&
        equalBytes(other.header.kid, kid) &&
        !equalBytes(other.bytes, record.bytes) &&
        this.#isSigned(other),
    );
    if (twin)
      return fail("CHAIN_FORK", `at seq ${seq} the key has signed another record, which the file has, too`).failure;
    return undefined;
  }

  /** Why what a genesis record says in the name of a maker of the policy is not true: MAKER_FALSE, MAKER_MISMATCH. */
  untrue(genesis: Record): Failure | undefined {
    return this.#untrue.get(genesis);
  }

  /**
   * What makes the policy know the key, in words; undefined where it does not. It names it, or a maker who vouches for it in
   * its genesis, or either is so of one that rotations lead from or to: each pair of keys has signed for the other.
   */
  known(publicKey: Uint8Array): string | undefined {
    if (this.#isListed(publicKey)) return `the policy knows ${didKey(publicKey)}`;
    const maker = this.#makerOf(publicKey);
    if (maker) return `${didKey(maker)}, a maker that the policy knows, vouches for ${didKey(publicKey)}`;
    const before = this.#namedAlong(publicKey, (key) => this.#rotatedFrom(key));
    if (before) return `rotated from ${didKey(before)}, which ${this.#how(before)}`;
    const after = this.#namedAlong(publicKey, (key) => this.#rotatedTo(key));
    return after && `rotated to ${didKey(after)}, which ${this.#how(after)}`;
  }

  #isListed(publicKey: Uint8Array): boolean {
    return this.#policy.devices.some((device) => equalBytes(device, publicKey));
  }

  #makerOf(publicKey: Uint8Array): Uint8Array | undefined {
    return this.#vouchings.find((vouching) => equalBytes(vouching.publicKey, publicKey))?.maker;
  }

  #isNamed(publicKey: Uint8Array): boolean {
    return this.#isListed(publicKey) || this.#makerOf(publicKey) !== undefined;
  }

  #how(named: Uint8Array): string {
    return this.#isListed(named) ? "the policy knows" : `a maker vouches for: ${didKey(this.#makerOf(named)!)}`;
  }

  #namedAlong(publicKey: Uint8Array, next: (key: Uint8Array) => Uint8Array | undefined): Uint8Array | undefined {
    let key = next(publicKey);
    for (let rotations = 1; key && rotations <= ROTATIONS_MAX; rotations++) {
      if (this.#isNamed(key)) return key;
      key = next(key);
    }
    return undefined;
  }

  /** The key whose rotate record names `publicKey`, where that key's genesis names the same record as its predecessor. */
  #rotatedFrom(publicKey: Uint8Array): Uint8Array | undefined {
    const predecessor = this.#genesisOf(kidOf(this.#crypto.sha256, publicKey))?.predecessor;
    if (!predecessor) return undefined;
    const rotation = this.#records.find(
      ({ header, bytes }) =>
        header.kind === Kind.rotate &&
        header.seq === predecessor.seq &&
        equalBytes(header.kid, predecessor.kid) &&
        equalBytes(recordId(this.#crypto.sha256, bytes), predecessor.id),
    );
    const next = rotation && readRotate(rotation.payload);
    if (!rotation || !next?.ok || !equalBytes(next.value, publicKey)) return undefined;
    if (!this.#isSigned(rotation) || this.objection(rotation)) return undefined;
    return this.keyOf(predecessor.kid);
  }

  #rotatedTo(publicKey: Uint8Array): Uint8Array | undefined {
    return this.#keys.find((key) => {
      const former = this.#rotatedFrom(key);
      return former && equalBytes(former, publicKey);
    });
  }

  #endingOf(kid: Uint8Array): Ending {
    const name = toHex(kid);
    const found = this.#endings.get(name);
    if (found) return found;
    const rotations = this.#records.filter(
      (record) => record.header.kind === Kind.rotate && equalBytes(record.header.kid, kid) && this.#isSigned(record),
    );
    const ending = {
      revokedFrom: Math.min(...this.#revokedFrom(kid)),
      rotatedAt: Math.min(...rotations.map(({ header }) => header.seq)),
    };
    this.#endings.set(name, ending);
    return ending;
  }

  /** The positions from which on somebody who may has revoked the key. */
  #revokedFrom(kid: Uint8Array): number[] {
    const genesis = this.#genesisOf(kid);
    const { owner, operator } = genesis ? revokersOf(genesis) : {};
    const operators = operator ? this.#operatorsFrom(operator, genesis?.recoveryKey) : [];
    const revokers = [...(owner ? [owner] : operators), ...this.#policy.operators];
    const positions = this.#policy.revoked
      .filter(({ device }) => equalBytes(kidOf(this.#crypto.sha256, device), kid))
      .map(({ fromSeq }) => fromSeq);
    for (const statement of this.#revocations) {
      const checked = checkRevocation(this.#crypto, statement, kid, revokers);
      if (checked.ok) positions.push(checked.value.fromSeq);
    }
    return positions;
  }

  /** The relay's device-facing keys: the one that genesis pins, and those that statements lead to from there. */
  #operatorsFrom(operator: Uint8Array, recovery: Uint8Array | undefined): Uint8Array[] {
    const operators = [operator];
    const signers = recovery ? [operator, recovery] : [operator];
    for (const read of this.#relayKeys) {
      const { statement, relayKey } = read;
      const signer = signers.find((key) => equalBytes(kidOf(this.#crypto.sha256, key), statement.kid));
      if (!signer || !verifyRelayKey(this.#crypto, read, signer).ok) continue;
      operators.push(relayKey.deviceKey);
      signers.push(relayKey.deviceKey);
      if (relayKey.recoveryKey && signer === recovery) signers.push(relayKey.recoveryKey);
    }
    return operators;
  }

  /** Genesis of the chain of `kid`, under its own signature. */
  #genesisOf(kid: Uint8Array): Genesis | undefined {
    const record = this.#records.find(({ header }) => header.kind === Kind.genesis && equalBytes(header.kid, kid));
    if (!record || !this.#isSigned(record)) return undefined;
    const genesis = readGenesis(record.payload);
    return genesis.ok ? genesis.value : undefined;
  }

  #isSigned(record: Record): boolean {
    const key = this.keyOf(record.header.kid);
    return key !== undefined && verifySignature(this.#crypto.ed25519, record.signature, toBeSigned(record), key);
  }
}
