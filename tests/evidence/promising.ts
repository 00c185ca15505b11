import { equalBytes } from "tallystick/bytes/bytes";
import { OmissionCheck, type OmissionClaim, type OmissionReport } from "tallystick/evidence/omission";
import type { Policy } from "tallystick/evidence/policy";
import { kidOf } from "tallystick/identity/key";
import { formatCheckpoint } from "tallystick/log/checkpoint";
import { formatNote, type NoteSignature, SignatureType } from "tallystick/log/note";
import { makeOpening } from "tallystick/log/opening";
import { type Acknowledgement, makeAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { naiveLeaf, naiveRoot } from "../merkle/naive.js";
import { must, signerOf } from "../witness/fixture.js";

const { sha256, ed25519 } = relayCrypto;

export const ORIGIN = "log.example/promises";
export const PROMISED_S = 1_800_000_000;
/** So long after the promise that every rule has it passed. */
export const LATER_S = PROMISED_S + 3600;

/** A key of which the test has the seed. */
export function keyOf(seedByte: number) {
  const seed = new Uint8Array(32).fill(seedByte);
  const publicKey = ed25519.publicKey(seed);
  return {
    publicKey,
    kid: kidOf(sha256, publicKey),
    sign: (bytes: Uint8Array) => ed25519.sign(bytes, seed, publicKey),
  };
}

/** The id of a record that a test speaks of. */
export function idOf(name: string): Uint8Array {
  return naiveLeaf(new Uint8Array(Buffer.from(name)));
}

/** The opening of a log with `log` as its key. */
export function openingOf(origin: string, log: ReturnType<typeof keyOf>, relayKey: Uint8Array): Uint8Array {
  return makeOpening(sha256, { origin, logKey: log.publicKey, relayKey, logWithinS: 600, policy: "" }, log.sign);
}

/** A relay that signs whatever it is asked to, its log and its witnesses: all by real signatures. */
export class PromisingRelay {
  readonly log;
  readonly witnesses = [1, 2, 3].map((n) => signerOf(`witness.example/w${n}`, 20 + n, SignatureType.cosignature));
  readonly opening: Uint8Array;

  /** `seedByte` is that of the log's key. */
  constructor(
    readonly origin = ORIGIN,
    seedByte = 11,
    readonly device = keyOf(12),
    opening?: Uint8Array,
  ) {
    this.log = signerOf(origin, seedByte);
    this.opening = opening ?? openingOf(origin, keyOf(seedByte), device.publicKey);
  }

  /** Leaf hashes: the opening's, then those of `names`. */
  leaves(...names: readonly string[]): Uint8Array[] {
    return [naiveLeaf(this.opening), ...names.map(idOf)];
  }

  checkpoint(leaves: readonly Uint8Array[], cosignedS: readonly number[] = []): Uint8Array {
    const text = formatCheckpoint({ origin: this.origin, size: leaves.length, root: naiveRoot(leaves) });
    const lines: NoteSignature[] = cosignedS.map((timeS, i) => this.witnesses[i]!.line(text, timeS));
    return formatNote({ text, signatures: [this.log.line(text), ...lines] });
  }

  /** Of a tree of `leaves`; received is promised by PROMISED_S where nothing else is said. */
  acknowledgement(
    leaves: readonly Uint8Array[],
    parts: Partial<Acknowledgement>,
    key: ReturnType<typeof keyOf> = this.device,
  ): Uint8Array {
    const logged = parts.logged ?? parts.final;
    const isPromised = parts.received && !(logged && equalBytes(parts.received.id, logged.id));
    return makeAcknowledgement(
      key.kid,
      {
        kid: new Uint8Array(8).fill(5),
        nonce: new Uint8Array(16).fill(6),
        ...(isPromised && { logByS: PROMISED_S }),
        checkpoint: Buffer.from(this.checkpoint(leaves)).toString("utf8"),
        consistency: [],
        pinnedSize: 0,
        timeMs: (PROMISED_S - 600) * 1000,
        ...parts,
      },
      key.sign,
    );
  }

  policy(parts: Partial<Policy> = {}): Policy {
    return {
      log: this.log.key,
      devices: [],
      makers: [],
      operators: [],
      revoked: [],
      witnesses: this.witnesses.map(({ key }) => key),
      witnessQuorum: 2,
      ledgers: [],
      require: [],
      ...parts,
    };
  }
}

/** The report, after `leaves` were given in pieces of `piece`. */
export function judge(claim: OmissionClaim, leaves: readonly Uint8Array[], piece = 256): OmissionReport {
  const check = must(OmissionCheck.begin(relayCrypto, claim));
  for (let at = 0; at < leaves.length; at += piece)
    check.append(new Uint8Array(Buffer.concat(leaves.slice(at, at + piece))));
  return check.report();
}

/** Each step's part and state. */
export function statesOf({ steps }: OmissionReport): string {
  return steps.map(({ part, state }) => `${part} ${state}`).join(", ");
}
