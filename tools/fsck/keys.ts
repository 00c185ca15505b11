import { createHash, createPublicKey, verify } from "node:crypto";
import { equalBytes, fromHex, toHex } from "tallystick/bytes/bytes";
import { ok } from "tallystick/codes/codes";
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
import { type OpenedSector, openedSectors } from "../inspect/journal-image.js";
import { type Frame, walkSector } from "../inspect/walk.js";

/** Whose signatures an image's records carry, and by which key they can be verified. */

export const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(bytes).digest());

/** DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

const engines = new WeakMap<Uint8Array, Ed25519Engine>();

/**
 * Node's own Ed25519, some twenty times faster than tweetnacl; what is accepted is decided by the one rule. To take a key
 * apart costs as much as to verify a signature, so it is done once.
 */
function engineFor(publicKey: Uint8Array): Ed25519Engine {
  const known = engines.get(publicKey);
  if (known !== undefined) return known;
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  const engine: Ed25519Engine = {
    ...tweetnaclEngine,
    name: "node",
    equation: (signature, message) => verify(null, message, key, signature),
  };
  engines.set(publicKey, engine);
  return engine;
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

/** What an image says of its keys and signatures. */
export interface ImageKeys {
  /** Of all whole records, the newest's first. */
  readonly kids: readonly Uint8Array[];
  /** Of genesis records that are whole and signed by the key that they name. */
  readonly keys: readonly KnownKey[];
  /** All records whose CRC holds, the newest first, whether they stand or not. */
  readonly records: readonly WholeRecord[];
}

export interface WholeRecord {
  readonly record: Record;
  /**
   * First bytes of the id by which a frame right behind the record, or the next sector's header, names it, where the
   * bytes in its cells have another: its key makes the signature again, and with that the id should be this one.
   */
  readonly named: Uint8Array | undefined;
}

export function keysOf(image: Uint8Array, geometry: Geometry): ImageKeys {
  const kids: Uint8Array[] = [];
  const keys: KnownKey[] = [];
  const records = wholeRecords(image, geometry);
  for (const { record } of records) {
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
  return { kids, keys, records };
}

function wholeRecords(image: Uint8Array, geometry: Geometry): WholeRecord[] {
  const records: WholeRecord[] = [];
  let behind: OpenedSector | undefined;
  for (const sector of openedSectors(image, geometry).reverse()) {
    const { ordinal, header, bytes } = sector;
    for (const piece of walkSector({ geometry, sha256, ordinal, header, bytes }).pieces.toReversed()) {
      if (piece.kind !== "frame" || piece.id === undefined) continue;
      const record = parseRecord(recordAt(geometry, bytes, piece.offset, piece.header.bodyBytes));
      if (!record.ok) continue;
      const next = behind?.header?.firstSeq === record.value.header.seq + 1 ? behind.header.tailId : undefined;
      records.push({ record: record.value, named: namedBy(piece, next) });
    }
    behind = sector;
  }
  return records;
}

/** The header of the next sector says more of an id than a link, unless it is about another record. */
function namedBy({ id, presumed }: Frame, tailId: Uint8Array | undefined): Uint8Array | undefined {
  const inCells = (start: Uint8Array) => start.every((byte, i) => byte === id![i]);
  if (presumed === undefined) return tailId === undefined || inCells(tailId) ? undefined : tailId;
  const link = new Uint8Array(4);
  new DataView(link.buffer).setUint32(0, presumed);
  return tailId !== undefined && link.every((byte, i) => byte === tailId[i]) ? tailId : link;
}

/** Stands in for a signature that only the device can make. Never shown, and never taken for one. */
const PLACEHOLDER = new Uint8Array(SIGNATURE_BYTES).fill(0x50);

export function isPlaceholder(signature: Uint8Array): boolean {
  return equalBytes(signature, PLACEHOLDER);
}

/**
 * Signers that make no signature, for a journal that is run on an image. A body that carries a genuine signature in the
 * image gets that one: there is no other. Any other gets a placeholder, and the id that it is named by in the image, if it
 * is: so the run goes on as on the device, where the signature that is made again has that id.
 */
export class ImageSigners {
  /** Positions of records that got a placeholder. */
  readonly unsigned = new Set<number>();
  /** A signature was to be verified that nobody here can verify. */
  blind = false;
  readonly signers: readonly RecordSigner[];
  readonly #records: readonly WholeRecord[];
  readonly #made = new Map<string, Uint8Array>();
  readonly #ids = new Map<string, Uint8Array>();

  /** Of each kid in `blind` no key is known: what it is shown is all genuine, or none of it, as `assumed` says. */
  constructor(
    records: readonly WholeRecord[],
    keys: readonly KnownKey[],
    blind: readonly Uint8Array[],
    assumed: boolean,
  ) {
    this.#records = records;
    const named = new Set<string>();
    for (const { record, named: id } of records) {
      if (id === undefined) continue;
      this.#ids.set(toHex(record.body), id);
      named.add(toHex(toBeSigned(record)));
    }
    this.signers = [
      ...keys.map(({ kid, publicKey }) => {
        const engine = engineFor(publicKey);
        return this.#signer(kid, (message, signature) => verifySignature(engine, signature, message, publicKey));
      }),
      ...blind.map((kid) => ({
        ...this.#signer(kid, (message) => assumed && !named.has(toHex(message))),
        verify: () => {
          this.blind = true;
          return assumed;
        },
      })),
    ];
  }

  /** SHA-256, but for what a placeholder makes of a record that the image names. */
  readonly sha256 = (bytes: Uint8Array): Uint8Array => {
    const hash = sha256(bytes);
    const end = bytes.length - SIGNATURE_BYTES;
    if (end <= LEAF_PREFIX_BYTES || !isPlaceholder(bytes.subarray(end))) return hash;
    const id = this.#ids.get(toHex(bytes.subarray(LEAF_PREFIX_BYTES, end)));
    if (id !== undefined) hash.set(id);
    return hash;
  };

  #signer(kid: Uint8Array, verify: RecordSigner["verify"]): RecordSigner {
    return { kid, verify, sign: (message) => ok(this.#signatureOf(message, verify).slice()) };
  }

  #signatureOf(message: Uint8Array, isGenuine: RecordSigner["verify"]): Uint8Array {
    const text = toHex(message);
    const before = this.#made.get(text);
    if (before !== undefined) return before;
    const genuine = this.#records.find(
      ({ record }) => equalBytes(toBeSigned(record), message) && isGenuine(message, record.signature),
    );
    if (genuine === undefined) this.unsigned.add(seqIn(message));
    const made = genuine?.record.signature ?? PLACEHOLDER;
    this.#made.set(text, made);
    return made;
  }
}

/** A record's id is its RFC 6962 leaf hash: over a byte, and the record. */
const LEAF_PREFIX_BYTES = 1;

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
