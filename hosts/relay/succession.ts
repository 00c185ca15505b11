import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { verifySignature } from "tallystick/identity/ed25519";
import { kidOf } from "tallystick/identity/key";
import { readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import type { Statement } from "tallystick/record/statement";
import type { Request } from "tallystick/sync/messages";
import { readSuccession, readSuccessionRequest, type SuccessionStatement } from "tallystick/sync/succession";
import { checkRecord, forkRefusal, type IngestOptions, newRecord } from "./ingest.js";
import type { Refusal } from "./problem.js";
import type { StoredDevice } from "./store/store.js";
import type { StoredSuccession } from "./store/successions.js";

/**
 * Closing a chain in favour of another key (modules/sync/SPEC.md): the former key's statement is the leave that a token
 * is elsewhere, and the new chain's genesis shows that the new key wants it too. The same succession again is answered as
 * the first, and nothing is written for it.
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
  readonly succession: SuccessionStatement;
  readonly kid: Uint8Array;
  readonly genesis: Record;
  readonly statement: Uint8Array;
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
  const { kid, genesis, succession, statement } = proposal.value;

  const id = recordId(crypto.sha256, genesis.bytes);
  const before = store.successions.of(former.device);
  if (before) {
    const successor = store.deviceByNumber(before.successor);
    const other = checkSame(former, before, successor, succession);
    if (other) return { refusal: other };
    if (equalBytes(successor.genesisId, id)) return { request, device: successor, isNew: false };
    store.transaction(() => store.keepFork(successor.device, newRecord(genesis, id), nowMs()));
    return { refusal: forkRefusal(0, successor.genesisId, id) };
  }
  const refusal = checkFresh(options, former, kid, succession);
  if (refusal) return { refusal: { failure: refusal } };
  const device = store.transaction(() => {
    const atMs = nowMs();
    const added = store.addDevice(kid, succession.publicKey, newRecord(genesis, id), atMs);
    store.successions.close(former.device, { seq: succession.head.seq, successor: added.device }, statement, atMs);
    return added;
  });
  return { request, device, isNew: true };
}

/** All that does not depend on what is stored beyond the former key. The cheap questions come first. */
function checkProposal(
  { crypto, origin }: SuccessionOptions,
  former: StoredDevice,
  sent: { readonly statement: Uint8Array; readonly genesis: Uint8Array },
): Result<Proposal> {
  const read = readSuccession(sent.statement);
  if (!read.ok) return read;
  const { statement, succession } = read.value;
  const unsigned = checkSigned(former, statement);
  if (unsigned) return { ok: false, failure: unsigned };
  if (succession.origin !== origin) return untrue(`a statement for ${origin}`, `one for ${succession.origin}`);
  const parsed = parseRecord(sent.genesis);
  if (!parsed.ok) return parsed;
  const genesis = parsed.value;
  if (genesis.header.kind !== Kind.genesis)
    return fail("RECORD_MALFORMED", `expected a genesis record, received kind ${genesis.header.kind}`);
  if (!verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, former.publicKey))
    return fail("SIGNATURE_INVALID", `the succession statement is not signed by ${toHex(former.kid)}`);
  const kid = kidOf(crypto.sha256, succession.publicKey);
  const checked = checkRecord(crypto, { kid, publicKey: succession.publicKey }, genesis);
  if (!checked.ok) return checked;
  const content = readGenesis(genesis.payload);
  if (!content.ok) return content;
  const { predecessor } = content.value;
  const { seq, id } = succession.head;
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
  return ok({ succession, kid, genesis, statement: sent.statement });
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
  { head, publicKey }: SuccessionStatement,
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

/** Whether the chain may be closed there, and by this key. */
function checkFresh(
  { store }: SuccessionOptions,
  former: StoredDevice,
  kid: Uint8Array,
  { head, publicKey }: SuccessionStatement,
): Failure | undefined {
  if (equalBytes(publicKey, former.publicKey))
    return fail("SUCCESSION_KEY_TAKEN", `expected a key that succeeds ${toHex(kid)}, received that key itself`).failure;
  if (store.deviceByKid(kid))
    return fail("SUCCESSION_KEY_TAKEN", `expected a new key, received ${toHex(kid)}, which is enrolled`).failure;
  // Records that were under way may have arrived since the relay signed for this head: they stay where they are.
  const held = store.recordAt(former.device, head.seq);
  if (!held || !equalBytes(held.id, head.id))
    return untrue(
      held ? `${toHex(held.id)} at seq ${head.seq}` : `a head up to seq ${store.head(former.device).seq}`,
      held ? toHex(head.id) : `seq ${head.seq}`,
    ).failure;
  if (former.state === "forked")
    return fail("DEVICE_FORKED", `expected one history of ${toHex(former.kid)}, two are held`).failure;
  if (former.state === "closed")
    return fail("CHAIN_CLOSED", `a rotation has ended the chain of ${toHex(former.kid)}`).failure;
  return undefined;
}

function untrue(expected: string, received: string): { readonly ok: false; readonly failure: Failure } {
  return fail("SUCCESSION_FALSE", `expected ${expected}, received ${received}`);
}
