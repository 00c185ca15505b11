import { equalBytes, toHex } from "../bytes/bytes.js";
import { checkRevocation, type Revocation, readRevocation, revokersOf } from "../chain/revocation.js";
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
 *
 * A file may be made to keep its reader busy. So each signature in it is verified once at the most, however many records,
 * keys and statements ask for it, and what was found of a key is found once.
 */

/** The most rotations between a key and the one that the policy knows. */
export const ROTATIONS_MAX = 64;

/** Where a key's word ends: the first position that does not count, the last one of its chain; infinite where it does not. */
interface Ending {
  readonly revokedFrom: number;
  readonly rotatedAt: number;
}

/** A genesis record under its own signature, by the key that it announces. */
interface Beginning extends Genesis {
  readonly kid: string;
}

/** How a key came to another: the rotate record by which `from` has handed on, and its position. */
interface HandOver {
  readonly from: string;
  readonly seq: number;
}

/** A revocation in the file. */
export interface FoundRevocation extends Revocation {
  /** In whose name it is signed. */
  readonly signerKid: Uint8Array;
  /** Whether it is signed by somebody who may; else it is nobody's word. */
  readonly counts: boolean;
}

export class KeyBook {
  readonly #crypto: Crypto;
  readonly #policy: Policy;
  readonly #bundle: Pick<Bundle, "origin" | "revocations" | "relayKeys">;
  /** Public keys by kid, in hexadecimal like all names here. */
  readonly #keys = new Map<string, Uint8Array>();
  readonly #vouchings: Vouching[] = [];
  /** Why a maker's word in a genesis record does not hold. */
  readonly #untrue = new Map<Record, Failure>();
  /** Each once, by id. */
  readonly #records = new Map<string, Record>();
  /** By kid and position. */
  readonly #places = new Map<string, Record[]>();
  readonly #signed = new Map<Record, boolean>();
  readonly #beginnings = new Map<string, Beginning>();
  readonly #handOvers = new Map<string, HandOver>();
  readonly #handedTo = new Map<string, string>();
  readonly #endings = new Map<string, Ending>();
  readonly #known = new Map<string, string | undefined>();
  readonly #operators = new Map<string, readonly Uint8Array[]>();
  readonly #relayKeys: readonly ReadRelayKey[];
  readonly #trustedOperators: readonly Uint8Array[];
  readonly #heard = new Map<Uint8Array, boolean>();
  readonly #stated = new Map<string, boolean>();

  /** `records` as far as they could be read; nothing of the file is believed before it is checked. */
  constructor(
    crypto: Crypto,
    policy: Policy,
    records: readonly Record[],
    bundle: Pick<Bundle, "origin" | "revocations" | "relayKeys">,
  ) {
    this.#crypto = crypto;
    this.#policy = policy;
    this.#bundle = bundle;
    this.#relayKeys = (bundle.relayKeys ?? []).flatMap((bytes) => {
      const read = readRelayKey(bytes);
      return read.ok && read.value.relayKey.origin === bundle.origin ? [read.value] : [];
    });
    for (const record of records) this.#add(record);
    for (const key of [...policy.devices, ...policy.revoked.map(({ device }) => device)]) this.#name(key);
    for (const record of this.#records.values()) this.#begin(record);
    for (const beginning of this.#beginnings.values()) this.#link(beginning);
    this.#trustedOperators = this.#oneWith(policy.operators);
  }

  #add(record: Record): void {
    const id = toHex(recordId(this.#crypto.sha256, record.bytes));
    if (!this.#records.has(id)) {
      this.#records.set(id, record);
      const place = placeOf(record);
      const others = this.#places.get(place);
      if (others) others.push(record);
      else this.#places.set(place, [record]);
      const genesis = record.header.kind === Kind.genesis ? readGenesis(record.payload) : undefined;
      if (genesis?.ok) this.#name(genesis.value.publicKey);
    }
    const vouching = vouchingOf(this.#crypto, this.#policy.makers, record);
    if (vouching?.ok) this.#vouchings.push(vouching.value);
    else if (vouching) this.#untrue.set(record, vouching.failure);
  }

  #name(key: Uint8Array): void {
    const kid = this.#kidOf(key);
    if (!this.#keys.has(kid)) this.#keys.set(kid, key);
  }

  #begin(record: Record): void {
    const kid = toHex(record.header.kid);
    if (record.header.kind !== Kind.genesis || this.#beginnings.has(kid) || !this.isSigned(record)) return;
    const genesis = readGenesis(record.payload);
    // A kid finds a key and does not prove one.
    if (genesis.ok && equalBytes(genesis.value.publicKey, this.#keys.get(kid)!))
      this.#beginnings.set(kid, { ...genesis.value, kid });
  }

  /** Where a rotate record names the key, and the key's genesis that record as its predecessor, each has signed for the other. */
  #link({ kid, publicKey, predecessor }: Beginning): void {
    const rotation = predecessor && this.#records.get(toHex(predecessor.id));
    if (!rotation || rotation.header.kind !== Kind.rotate) return;
    if (rotation.header.seq !== predecessor.seq || !equalBytes(rotation.header.kid, predecessor.kid)) return;
    const next = readRotate(rotation.payload);
    if (!next.ok || !equalBytes(next.value, publicKey) || !this.isSigned(rotation)) return;
    const from = toHex(predecessor.kid);
    this.#handOvers.set(kid, { from, seq: predecessor.seq });
    this.#handedTo.set(from, kid);
  }

  /** The public key that a kid names, out of genesis records and the policy; undefined where neither has it. */
  keyOf(kid: Uint8Array): Uint8Array | undefined {
    return this.#keys.get(toHex(kid));
  }

  /** Whether the key that its kid names has signed the record. */
  isSigned(record: Record): boolean {
    const found = this.#signed.get(record);
    if (found !== undefined) return found;
    const same = this.#places.get(placeOf(record))?.find((other) => equalBytes(other.bytes, record.bytes));
    const key = this.keyOf(record.header.kid);
    const signed =
      same !== undefined && same !== record
        ? this.isSigned(same)
        : key !== undefined && verifySignature(this.#crypto.ed25519, record.signature, toBeSigned(record), key);
    this.#signed.set(record, signed);
    return signed;
  }

  /**
   * Why a record does not count though its signature holds: KEY_REVOKED, CHAIN_CLOSED, CHAIN_FORK where the file has
   * another one by the same key at its position; undefined where it counts.
   */
  objection(record: Record): Failure | undefined {
    const { kid, seq } = record.header;
    const { revokedFrom, rotatedAt } = this.#endingOf(toHex(kid));
    if (seq >= revokedFrom) return fail("KEY_REVOKED", `the key is revoked from seq ${revokedFrom} on`).failure;
    if (seq > rotatedAt) return fail("CHAIN_CLOSED", `the rotation at seq ${rotatedAt} ended the chain`).failure;
    const twin = this.#places
      .get(placeOf(record))
      ?.find((other) => this.isSigned(other) && !equalBytes(other.bytes, record.bytes));
    if (!twin) return undefined;
    return fail("CHAIN_FORK", `at seq ${seq} the key has signed another record, which the file has, too`).failure;
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
    const kid = this.#kidOf(publicKey);
    if (!this.#known.has(kid)) this.#known.set(kid, this.#findKnown(kid, publicKey));
    return this.#known.get(kid);
  }

  #findKnown(kid: string, publicKey: Uint8Array): string | undefined {
    if (this.#isListed(publicKey)) return `the policy knows ${didKey(publicKey)}`;
    const maker = this.#makerOf(publicKey);
    if (maker) return `${didKey(maker)}, a maker that the policy knows, vouches for ${didKey(publicKey)}`;
    const before = this.#namedAlong(kid, (key) => this.#formerOf(key));
    if (before) return `rotated from ${didKey(before)}, which ${this.#how(before)}`;
    const after = this.#namedAlong(kid, (key) => this.#nextOf(key));
    return after && `rotated to ${didKey(after)}, which ${this.#how(after)}`;
  }

  #isListed(publicKey: Uint8Array): boolean {
    return this.#policy.devices.some((device) => equalBytes(device, publicKey));
  }

  #makerOf(publicKey: Uint8Array): Uint8Array | undefined {
    return this.#vouchings.find((vouching) => equalBytes(vouching.publicKey, publicKey))?.maker;
  }

  #how(named: Uint8Array): string {
    return this.#isListed(named) ? "the policy knows" : `a maker vouches for: ${didKey(this.#makerOf(named)!)}`;
  }

  #namedAlong(start: string, next: (kid: string) => string | undefined): Uint8Array | undefined {
    let kid = next(start);
    for (let rotations = 1; kid !== undefined && rotations <= ROTATIONS_MAX; rotations++) {
      const key = this.#keys.get(kid)!;
      if (this.#isListed(key) || this.#makerOf(key)) return key;
      kid = next(kid);
    }
    return undefined;
  }

  /** The key that handed on to this one while its word counted. */
  #formerOf(kid: string): string | undefined {
    const handOver = this.#handOvers.get(kid);
    return handOver && this.#endingOf(handOver.from).revokedFrom > handOver.seq ? handOver.from : undefined;
  }

  #nextOf(kid: string): string | undefined {
    const next = this.#handedTo.get(kid);
    return next !== undefined && this.#formerOf(next) === kid ? next : undefined;
  }

  #endingOf(kid: string): Ending {
    const found = this.#endings.get(kid);
    if (found) return found;
    // From the first key of the lineage on: what a revoked key has handed on to does not count either.
    const line: string[] = [];
    for (let key: string | undefined = kid; key !== undefined && line.length <= ROTATIONS_MAX; ) {
      if (this.#endings.has(key)) break;
      line.push(key);
      key = this.#handOvers.get(key)?.from;
    }
    for (const key of line.reverse()) {
      const handOver = this.#handOvers.get(key);
      const former = handOver && this.#endings.get(handOver.from);
      const isTainted = former !== undefined && former.revokedFrom <= handOver!.seq;
      const positions = isTainted ? [0] : this.#revokedFrom(key);
      const rotation = this.#rotatedAt(key);
      this.#endings.set(key, { revokedFrom: Math.min(...positions), rotatedAt: rotation });
    }
    return this.#endings.get(kid)!;
  }

  #rotatedAt(kid: string): number {
    let least = Number.POSITIVE_INFINITY;
    for (const record of this.#records.values())
      if (record.header.kind === Kind.rotate && record.header.seq < least && toHex(record.header.kid) === kid)
        if (this.isSigned(record)) least = record.header.seq;
    return least;
  }

  /** The positions from which on somebody who may has revoked the key. */
  #revokedFrom(kid: string): number[] {
    const positions = this.#policy.revoked
      .filter(({ device }) => this.#kidOf(device) === kid)
      .map(({ fromSeq }) => fromSeq);
    for (const statement of this.#bundle.revocations ?? []) {
      const read = readRevocation(statement);
      if (!read.ok || toHex(read.value.revocation.kid) !== kid) continue;
      if (this.#isHeard(statement, read.value.revocation)) positions.push(read.value.revocation.fromSeq);
    }
    return positions;
  }

  /** Whether somebody who may has signed it. */
  #isHeard(statement: Uint8Array, { kid }: Revocation): boolean {
    const found = this.#heard.get(statement);
    if (found !== undefined) return found;
    const heard = checkRevocation(this.#crypto, statement, kid, this.#revokersOf(toHex(kid))).ok;
    this.#heard.set(statement, heard);
    return heard;
  }

  /** All revocations that the file carries: what each says, in whose name, and whether it counts. */
  revocations(): FoundRevocation[] {
    return (this.#bundle.revocations ?? []).flatMap((bytes) => {
      const read = readRevocation(bytes);
      if (!read.ok) return [];
      const { revocation, statement } = read.value;
      return [{ ...revocation, signerKid: statement.kid, counts: this.#isHeard(bytes, revocation) }];
    });
  }

  /** Those whom the first genesis of the lineage names: whoever hands a key on names nobody else. */
  #revokersOf(kid: string): readonly Uint8Array[] {
    let first = kid;
    for (let rotations = 0; rotations < ROTATIONS_MAX; rotations++) first = this.#handOvers.get(first)?.from ?? first;
    const genesis = this.#beginnings.get(first);
    const { owner, operator } = genesis ? revokersOf(genesis) : {};
    const operators = operator ? this.#operatorsFrom(operator, genesis?.recoveryKey) : [];
    return [...(owner ? [owner] : operators), ...this.#trustedOperators];
  }

  /**
   * Keys of the policy's operators, and those that were theirs before or after: by a statement of changed keys the former one
   * has signed for the next, and that one, in its proof of possession, for the former. By the recovery key nothing is shown
   * of the key that was in force before, which may have been stolen.
   */
  #oneWith(operators: readonly Uint8Array[]): readonly Uint8Array[] {
    const changes = this.#relayKeys.filter(({ relayKey }) => !relayKey.tree);
    if (operators.length === 0 || changes.length === 0) return operators;
    const known = new Map(operators.map((key) => [toHex(key), key]));
    const pinned = [...this.#beginnings.values()].flatMap(({ relayKey }) => relayKey ?? []);
    const named = new Map<string, Uint8Array[]>();
    for (const key of [...operators, ...pinned, ...changes.map(({ relayKey }) => relayKey.deviceKey)]) {
      const same = named.get(this.#kidOf(key));
      if (!same) named.set(this.#kidOf(key), [key]);
      else if (!same.some((other) => equalBytes(other, key))) same.push(key);
    }
    const signersOf = (read: ReadRelayKey, among: (key: Uint8Array) => boolean) =>
      (named.get(toHex(read.statement.kid)) ?? []).filter(
        (key) => among(key) && this.#isStated(this.#relayKeys.indexOf(read), read, key),
      );
    const isKnown = (key: Uint8Array) => known.has(toHex(key));
    for (const read of [...changes].reverse())
      if (isKnown(read.relayKey.deviceKey))
        for (const before of signersOf(read, (key) => !isKnown(key))) known.set(toHex(before), before);
    for (const read of changes)
      if (signersOf(read, isKnown).length > 0) known.set(toHex(read.relayKey.deviceKey), read.relayKey.deviceKey);
    return [...known.values()];
  }

  /** The relay's device-facing keys: the one that genesis pins, and those that statements lead to from there. */
  #operatorsFrom(operator: Uint8Array, recovery: Uint8Array | undefined): readonly Uint8Array[] {
    const name = `${toHex(operator)} ${recovery ? toHex(recovery) : ""}`;
    const found = this.#operators.get(name);
    if (found) return found;
    const operators = [operator];
    const recoveries = recovery ? [recovery] : [];
    let generation = 0;
    for (const [i, read] of this.#relayKeys.entries()) {
      const { statement, relayKey } = read;
      if (relayKey.generation <= generation) continue;
      const named = (keys: readonly Uint8Array[]) =>
        keys.find((key) => equalBytes(kidOf(this.#crypto.sha256, key), statement.kid));
      const recovers = named(recoveries);
      const signer = recovers ?? named(operators);
      if (!signer || !this.#isStated(i, read, signer)) continue;
      generation = relayKey.generation;
      operators.push(relayKey.deviceKey);
      if (recovers && relayKey.recoveryKey) recoveries.push(relayKey.recoveryKey);
    }
    this.#operators.set(name, operators);
    return operators;
  }

  #isStated(index: number, read: ReadRelayKey, signer: Uint8Array): boolean {
    const name = `${index} ${toHex(signer)}`;
    const found = this.#stated.get(name);
    if (found !== undefined) return found;
    const stated = verifyRelayKey(this.#crypto, read, signer).ok;
    this.#stated.set(name, stated);
    return stated;
  }

  #kidOf(key: Uint8Array): string {
    return toHex(kidOf(this.#crypto.sha256, key));
  }
}

function placeOf({ header }: Record): string {
  return `${toHex(header.kid)} ${header.seq}`;
}
