import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { readGenesis, readRotate } from "tallystick/record/payload";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import type { Statement } from "tallystick/record/statement";
import type { Request } from "tallystick/sync/messages";
import {
  readSuccession,
  readSuccessionRequest,
  type SuccessionRequest,
  type SuccessionStatement,
} from "tallystick/sync/succession";
import { forkRefusal, type IngestOptions, ingest, newRecord } from "./ingest.js";
import type { Refusal } from "./problem.js";
import { heldBack, revokedAt } from "./standing.js";
import type { StoredDevice } from "./store/store.js";
import type { StoredSuccession } from "./store/successions.js";
import { checkRecord, verifyBatch } from "./verify/verified.js";

/**
 * Closing a chain in favour of another key (modules/sync/SPEC.md): the former key's word, a statement or the rotate record
 * that ends its chain, is the leave that a token is elsewhere, and the new chain's genesis shows that the new key wants it
 * too. The same succession again is answered as the first, and nothing is written for it.
 */

export interface SuccessionOptions extends IngestOptions {
  /** What a statement must name: this relay. */
  readonly origin: string;
}

export type Succeeded =
  | { readonly request: Request; readonly device: StoredDevice; readonly isNew: boolean }
  | { readonly refusal: Refusal };

/** What the bodies say, read and seen to be signed by both keys and to agree with each other. */
interface Proposal {
  readonly word: Word;
  readonly kid: Uint8Array;
  readonly genesis: Record;
}

/** What the former key says: at which head its chain ends, and which key goes on. */
interface Word extends Pick<SuccessionStatement, "head" | "publicKey"> {
  /** Empty for a rotation: the record is in the chain. */
  readonly statement: Uint8Array;
  /** The rotate record. */
  readonly rotation?: Uint8Array;
}

/**
 * Takes the body of `POST /v1/devices/{kid}/succession`, of which `former` is the device. `check` may refuse the request
 * before anything is written. Throws what the database throws; then nothing was changed.
 */
export function succeedDevice(
  options: SuccessionOptions,
  former: StoredDevice,
  body: Uint8Array,
  check: (request: Request) => Failure | undefined,
): Succeeded {
  const { store, crypto, nowMs } = options;
  const read = readSuccessionRequest(body);
  if (!read.ok) return { refusal: read };
  const { request } = read.value;
  const early = check(request);
  if (early) return { refusal: { failure: early } };
  const proposal = checkProposal(options, former, read.value);
  if (!proposal.ok) return { refusal: proposal };
  const { kid, genesis, word } = proposal.value;

  const id = recordId(crypto.sha256, genesis.bytes);
  const before = store.successions.of(former.device);
  if (before) {
    const successor = store.deviceByNumber(before.successor);
    const other = checkSame(former, before, successor, word);
    if (other) return { refusal: other };
    if (equalBytes(successor.genesisId, id)) return { request, device: successor, isNew: false };
    store.transaction(() => store.keepFork(successor.device, newRecord(genesis, id), nowMs()));
    return { refusal: forkRefusal(0, successor.genesisId, id) };
  }
  const refusal = checkFresh(options, former, kid, word);
  if (refusal) return { refusal };
  const device = store.transaction(() => {
    const atMs = nowMs();
    const added = store.addDevice(kid, word.publicKey, newRecord(genesis, id), atMs, undefined, former.tenant);
    store.successions.close(former.device, { seq: word.head.seq, successor: added.device }, word.statement, atMs);
    return added;
  });
  return { request, device, isNew: true };
}

/** All that does not depend on what is stored beyond the former key. The cheap questions come first. */
function checkProposal(options: SuccessionOptions, former: StoredDevice, sent: SuccessionRequest): Result<Proposal> {
  const { crypto } = options;
  const parsed = parseRecord(sent.genesis);
  if (!parsed.ok) return parsed;
  const genesis = parsed.value;
  if (genesis.header.kind !== Kind.genesis)
    return fail("RECORD_MALFORMED", `expected a genesis record, received kind ${genesis.header.kind}`);
  const said =
    "statement" in sent
      ? readStatementOf(options, former, sent.statement)
      : readRotation(options, former, sent.rotation);
  if (!said.ok) return said;
  const word = said.value;
  const kid = kidOf(crypto.sha256, word.publicKey);
  const checked = checkRecord(crypto, { kid, publicKey: word.publicKey }, genesis);
  if (!checked.ok) return checked;
  const content = readGenesis(genesis.payload);
  if (!content.ok) return content;
  const { predecessor } = content.value;
  const { seq, id } = word.head;
  if (
    !predecessor ||
    !equalBytes(predecessor.kid, former.kid) ||
    predecessor.seq !== seq ||
    !equalBytes(predecessor.id, id)
  )
    return untrue(
      `a genesis that names ${toHex(former.kid)}, seq ${seq}, ${toHex(id)} as its predecessor`,
      predecessor
        ? `one that names ${toHex(predecessor.kid)}, seq ${predecessor.seq}, ${toHex(predecessor.id)}`
        : "one without",
    );
  return ok({ word, kid, genesis });
}

function readStatementOf({ crypto, origin }: SuccessionOptions, former: StoredDevice, bytes: Uint8Array): Result<Word> {
  const read = readSuccession(bytes);
  if (!read.ok) return read;
  const { statement, succession } = read.value;
  const unsigned = checkSigned(former, statement);
  if (unsigned) return { ok: false, failure: unsigned };
  if (succession.origin !== origin) return untrue(`a statement for ${origin}`, `one for ${succession.origin}`);
  return verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, former.publicKey)
    ? ok({ head: succession.head, publicKey: succession.publicKey, statement: bytes })
    : fail("SIGNATURE_INVALID", `the succession statement is not signed by ${toHex(former.kid)}`);
}

function readRotation({ crypto }: SuccessionOptions, former: StoredDevice, bytes: Uint8Array): Result<Word> {
  const parsed = parseRecord(bytes);
  if (!parsed.ok) return parsed;
  const record = parsed.value;
  if (record.header.kind !== Kind.rotate)
    return fail("RECORD_MALFORMED", `expected a rotate record, received kind ${record.header.kind}`);
  const checked = checkRecord(crypto, former, record);
  if (!checked.ok) return checked;
  const next = readRotate(record.payload);
  if (!next.ok) return next;
  const head = { seq: record.header.seq, id: recordId(crypto.sha256, bytes) };
  return ok({ head, publicKey: next.value, statement: new Uint8Array(0), rotation: bytes });
}

function checkSigned(former: StoredDevice, statement: Statement): Failure | undefined {
  return equalBytes(statement.kid, former.kid)
    ? undefined
    : fail("KEY_MISMATCH", `expected a statement by ${toHex(former.kid)}, received one by ${toHex(statement.kid)}`)
        .failure;
}

/** A chain has one successor, from one position on. */
function checkSame(
  former: StoredDevice,
  before: StoredSuccession,
  successor: StoredDevice,
  { head, publicKey }: Word,
): Refusal | undefined {
  if (before.seq === head.seq && equalBytes(successor.publicKey, publicKey)) return undefined;
  const members = { successor: toHex(successor.kid), seq: before.seq };
  return {
    ...fail(
      "SUCCESSION_TAKEN",
      `${toHex(former.kid)} was succeeded at seq ${members.seq} by ${members.successor}, received another succession`,
    ),
    members,
  };
}

/** Whether the chain may be closed there, and by this key; a rotate record that ends it enters it first. */
function checkFresh(
  options: SuccessionOptions,
  former: StoredDevice,
  kid: Uint8Array,
  { head, publicKey, rotation }: Word,
): Refusal | undefined {
  const { store } = options;
  if (equalBytes(publicKey, former.publicKey))
    return fail("SUCCESSION_KEY_TAKEN", `expected a key that succeeds ${toHex(kid)}, received that key itself`);
  if (store.deviceByKid(kid))
    return fail("SUCCESSION_KEY_TAKEN", `expected a new key, received ${toHex(kid)}, which is enrolled`);
  const held = heldBack(store, former.device);
  if (held) return held;
  // Whoever has a revoked key could else go on by another one, from a position before.
  const revocation = store.standing.revocation(former.device);
  if (revocation) return fail("KEY_REVOKED", `${toHex(former.kid)} is revoked from seq ${revocation.fromSeq} on`);
  const tainted = revokedAt(store, former.device, 0);
  if (tainted) return { failure: tainted };
  if (rotation) {
    const { refusal } = ingest(options, former, verifyBatch(options.crypto, former, rotation));
    if (refusal) return refusal;
  } else if (former.state === "closed")
    return fail("CHAIN_CLOSED", `a rotation has ended the chain of ${toHex(former.kid)}`);
  // Records that were under way may have arrived since the relay signed for this head: they stay where they are.
  const record = store.recordAt(former.device, head.seq);
  if (!record || !equalBytes(record.id, head.id))
    return untrue(
      record ? `${toHex(record.id)} at seq ${head.seq}` : `a head up to seq ${store.head(former.device).seq}`,
      record ? toHex(head.id) : `seq ${head.seq}`,
    );
  return undefined;
}

function untrue(expected: string, received: string): { readonly ok: false; readonly failure: Failure } {
  return fail("SUCCESSION_FALSE", `expected ${expected}, received ${received}`);
}
