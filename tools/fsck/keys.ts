import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { equalBytes, fromHex, toHex } from "tallystick/bytes/bytes";
import { ok, type Result } from "tallystick/codes/codes";
import type { Ed25519Engine } from "tallystick/identity/crypto";
import { isAcceptablePublicKey, verifySignature } from "tallystick/identity/ed25519";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { tweetnaclEngine } from "tallystick/identity/tweetnacl";
import type { Geometry } from "tallystick/journal/layout";
import { recordAt } from "tallystick/journal/scan";
import type { RecordSigner } from "tallystick/journal/tail";
import { decodeCbor } from "tallystick/record/cbor";
import { readGenesis } from "tallystick/record/payload";
import { CHAIN_LABEL, Kind, parseRecord, type Record, SIGNATURE_BYTES, toBeSigned } from "tallystick/record/record";
import { openedSectors } from "../inspect/journal-image.js";
import { walkSector } from "../inspect/walk.js";

/** Whose signatures an image's records carry, and by which key they can be verified. */

export const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(bytes).digest());

/** DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Node's own Ed25519, some twenty times faster than tweetnacl; what is accepted is decided by the one rule. */
function engineFor(publicKey: Uint8Array): Ed25519Engine {
  let key: KeyObject | undefined;
  return {
    ...tweetnaclEngine,
    name: "node",
    equation: (signature, message) => {
      key ??= createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: "der", type: "spki" });
      return verify(null, message, key, signature);
    },
  };
}

/** A key that records can be verified by. */
export interface KnownKey {
  readonly kid: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly source: "the genesis record in the image" | "--key";
}

/** The key that `--key` names: a did:key, or its 32 bytes in hexadecimal. */
export function readKey(text: string): KnownKey | undefined {
  const publicKey = text.startsWith("did:") ? fromDidKey(text) : fromHex(text);
  if (publicKey === undefined || !isAcceptablePublicKey(publicKey)) return undefined;
  return { kid: kidOf(sha256, publicKey), publicKey, source: "--key" };
}

export function isSignedBy({ publicKey }: KnownKey, record: Record): boolean {
  return verifySignature(engineFor(publicKey), record.signature, toBeSigned(record), publicKey);
}

/** What an image says of its keys. */
export interface ImageKeys {
  /** Of all whole records, the newest's first. */
  readonly kids: readonly Uint8Array[];
  /** Of genesis records that are whole and signed by the key that they name. */
  readonly keys: readonly KnownKey[];
}

export function keysOf(image: Uint8Array, geometry: Geometry): ImageKeys {
  const kids: Uint8Array[] = [];
  const keys: KnownKey[] = [];
  for (const record of wholeRecords(image, geometry)) {
    const { kid, kind } = record.header;
    if (!kids.some((known) => equalBytes(known, kid))) kids.push(kid.slice());
    const genesis = kind === Kind.genesis ? readGenesis(record.payload) : undefined;
    if (!genesis?.ok || keys.some((known) => equalBytes(known.kid, kid))) continue;
    const key: KnownKey = {
      kid: kidOf(sha256, genesis.value.publicKey),
      publicKey: genesis.value.publicKey.slice(),
      source: "the genesis record in the image",
    };
    if (equalBytes(key.kid, kid) && isSignedBy(key, record)) keys.push(key);
  }
  return { kids, keys };
}

/** All records whose CRC holds, the newest first, whether they stand or not. */
function* wholeRecords(image: Uint8Array, geometry: Geometry): Iterable<Record> {
  for (const { ordinal, header, bytes } of openedSectors(image, geometry).reverse()) {
    const { pieces } = walkSector({ geometry, sha256, ordinal, header, bytes });
    for (const piece of [...pieces].reverse()) {
      if (piece.kind !== "frame" || piece.id === undefined) continue;
      const record = parseRecord(recordAt(geometry, bytes, piece.offset, piece.header.bodyBytes));
      if (record.ok) yield record.value;
    }
  }
}

/** What the journal asked its signers while it recovered. */
export interface Asked {
  /** Positions for which a signature was wanted. */
  readonly sign: Set<number>;
  /** A signature was to be verified that nobody here can verify. */
  blind: boolean;
}

/** Stands in for a signature that only the device can make. Never shown, and never taken for one. */
const PLACEHOLDER = new Uint8Array(SIGNATURE_BYTES).fill(0x50);

/** A signer that verifies as the device does. What it is asked to sign it only notes. */
export function verifier(key: KnownKey, asked: Asked): RecordSigner {
  const engine = engineFor(key.publicKey);
  return {
    kid: key.kid,
    sign: (message) => noted(message, asked),
    verify: (message, signature) => verifySignature(engine, signature, message, key.publicKey),
  };
}

/** A signer of a key that is not known: all that it is shown is taken for `assumed`. */
export function blindVerifier(kid: Uint8Array, assumed: boolean, asked: Asked): RecordSigner {
  return {
    kid,
    sign: (message) => noted(message, asked),
    verify: () => {
      asked.blind = true;
      return assumed;
    },
  };
}

function noted(message: Uint8Array, asked: Asked): Result<Uint8Array> {
  asked.sign.add(seqIn(message));
  return ok(PLACEHOLDER.slice());
}

/** The position in a Sig_structure. */
function seqIn(message: Uint8Array): number {
  const structure = decodeCbor(message);
  const protectedBytes = structure.ok && Array.isArray(structure.value) ? structure.value[1] : undefined;
  const labels = protectedBytes instanceof Uint8Array ? decodeCbor(protectedBytes) : undefined;
  const position = labels?.ok && labels.value instanceof Map ? labels.value.get(CHAIN_LABEL) : undefined;
  const seq = Array.isArray(position) ? position[2] : undefined;
  if (typeof seq !== "number") throw new TypeError(`asked to sign what is no record: ${toHex(message)}`);
  return seq;
}
