import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { verifySignature } from "tallystick/identity/ed25519";
import { checkVouched, readMakerStatement, verifyMakerStatement } from "tallystick/record/maker";
import { type Genesis, readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import { type Enrolment, leaveOf, type Request, readEnrolment, readPossession } from "tallystick/sync/messages";
import type { Challenges } from "./challenge.js";
import { forkRefusal, type IngestOptions, newRecord } from "./ingest.js";
import type { Refusal } from "./problem.js";
import { DEFAULT_TENANT } from "./store/schema.js";
import type { StoredDevice } from "./store/store.js";
import { spendToken, type TokenState, tokenState } from "./store/tokens.js";
import { checkRecord } from "./verify/verified.js";

/**
 * Letting a device in (modules/sync/SPEC.md): by a free token, by a statement of a maker that the operator has named, or,
 * where the operator has opened the relay, without either; each with proof that the sender holds the key, and with the
 * chain's genesis. The cheap questions come first, and without any leave nothing of the record is looked at. The same
 * enrolment again is answered as the first.
 *
 * What may be learnt by trying: whether a token that one has is current; whether a maker is trusted, by who holds the key
 * that its statement names. Nothing secret is compared here: tokens are looked up by their hash (store/tokens.ts), and
 * what possession names is compared with what the same sender sent, and with this relay's public name.
 */

/**
 * Devices of any kind that the relay holds when open enrolment ends. Bounds what strangers can make it store by letting
 * themselves in; tokens and makers' statements go on to work.
 */
export const OPEN_DEVICES_MAX = 10_000;

/** Whom the relay lets in beside the holders of tokens. */
export interface Admission {
  /** Public keys of makers whose statement is leave enough; at most MAKERS_MAX. */
  readonly makers: readonly Uint8Array[];
  /** Lets in whoever proves to hold a key. */
  readonly open: boolean;
  /** Default OPEN_DEVICES_MAX. */
  readonly openDevicesMax?: number;
  /** Whose devices become that come without a token; default DEFAULT_TENANT. */
  readonly tenant?: string;
}

export interface EnrolmentOptions extends IngestOptions {
  readonly challenges: Challenges;
  /** What a proof of possession must name: this relay. */
  readonly origin: string;
  readonly admission: Admission;
}

export type Enrolled =
  | { readonly request: Request; readonly device: StoredDevice; readonly isNew: boolean }
  | { readonly refusal: Refusal };

/**
 * Takes the body of an enrolment, where `expectedKid` is given of that key alone. `check` may refuse the request before
 * anything is written. Throws what the database throws; then nobody was enrolled.
 */
export function enrolDevice(
  options: EnrolmentOptions,
  body: Uint8Array,
  check: (request: Request) => Failure | undefined,
  expectedKid?: Uint8Array,
): Enrolled {
  const { store, crypto } = options;
  const read = readEnrolment(body);
  if (!read.ok) return { refusal: read };
  const enrolment = read.value;
  const tokenSha256 = enrolment.token && crypto.sha256(enrolment.token);
  const token = tokenSha256 && tokenState(store.database, tokenSha256, options.nowMs());
  const early = checkLeave(options.admission, token) ?? check(enrolment.request);
  if (early) return { refusal: { failure: early } };

  const announced = readAnnounced(enrolment.genesis);
  if (!announced.ok) return { refusal: announced };
  const { record, genesis } = announced.value;
  const { kid } = record.header;
  const { publicKey } = genesis;
  if (expectedKid && !equalBytes(kid, expectedKid))
    return {
      refusal: fail("KEY_MISMATCH", `expected genesis of ${toHex(expectedKid)}, received one of ${toHex(kid)}`),
    };
  const unproved = checkPossession(options, enrolment, genesis, kid);
  if (unproved) return { refusal: { failure: unproved } };
  const vouched = checkMaker(options, genesis, !isCurrent(token) && !options.admission.open);
  if (!vouched.ok) return { refusal: vouched };
  const checked = checkRecord(crypto, { kid, publicKey }, record);
  if (!checked.ok) return { refusal: checked };

  const id = recordId(crypto.sha256, record.bytes);
  const known = store.deviceByKid(kid);
  if (known) {
    if (!equalBytes(known.publicKey, publicKey))
      return { refusal: fail("KEY_MISMATCH", `another key with the kid ${toHex(kid)} is enrolled`) };
    if (equalBytes(known.genesisId, id)) return { request: enrolment.request, device: known, isNew: false };
    store.transaction(() => store.keepFork(known.device, newRecord(record, id), options.nowMs()));
    return { refusal: forkRefusal(0, known.genesisId, id) };
  }
  const isTokenFree = token?.state === "free";
  const tenant = token?.state === "free" ? token.tenant : (options.admission.tenant ?? DEFAULT_TENANT);
  if (!isTokenFree && !(vouched.value && !token)) {
    const closed = checkOpen(options, token);
    if (closed) return { refusal: { failure: closed } };
  }
  const device = store.transaction(() => {
    const nowMs = options.nowMs();
    const added = store.addDevice(kid, publicKey, newRecord(record, id), nowMs, undefined, tenant);
    if (tokenSha256 && isTokenFree) spendToken(store.database, tokenSha256, added.device, nowMs);
    return added;
  });
  return { request: enrolment.request, device, isNew: true };
}

/** Whether it is worth to look at the record: by a token that is current, or because there is another way in. */
function checkLeave({ makers, open }: Admission, token: TokenState | undefined): Failure | undefined {
  if (open || isCurrent(token)) return undefined;
  if (token) return invalid("one that was made here and is current", `one that is ${token.state}`);
  return makers.length > 0 ? undefined : invalid("one", "none");
}

/** A token that is spent may come again with the device that it let in. */
function isCurrent(token: TokenState | undefined): boolean {
  return token?.state === "free" || token?.state === "used";
}

function readAnnounced(bytes: Uint8Array): Result<{ readonly record: Record; readonly genesis: Genesis }> {
  const parsed = parseRecord(bytes);
  if (!parsed.ok) return parsed;
  const record = parsed.value;
  if (record.header.kind !== Kind.genesis)
    return fail("RECORD_MALFORMED", `expected a genesis record, received kind ${record.header.kind}`);
  const genesis = readGenesis(record.payload);
  if (!genesis.ok) return genesis;
  // A chain is continued by its former key's word alone, or anyone with a token could close another's.
  return genesis.value.predecessor
    ? fail("SUCCESSION_FALSE", "expected a genesis without predecessor, or its succession statement")
    : ok({ record, genesis: genesis.value });
}

/**
 * Whether a maker that the operator has named vouches for the announced key. What is no maker's statement, or one by a
 * stranger, is refused only where there `mustBe` one; one in a trusted maker's name must hold in any case.
 */
function checkMaker(
  { crypto, admission }: EnrolmentOptions,
  { publicKey, firmware, statement: bytes }: Genesis,
  mustBe: boolean,
): Result<boolean> {
  if (!bytes) return mustBe ? { ok: false, failure: invalid("one, or a maker's statement", "neither") } : ok(false);
  const read = readMakerStatement(bytes);
  const maker = read.ok ? verifyMakerStatement(crypto, read.value, admission.makers) : read;
  if (!read.ok || (!maker.ok && maker.failure.code === "MAKER_UNKNOWN"))
    return mustBe ? (maker as Result<never>) : ok(false);
  if (!maker.ok) return maker;
  const about = checkVouched(read.value.vouched, { publicKey, firmwareSha256: firmware.sha256 });
  return about.ok ? ok(true) : about;
}

function checkOpen({ admission, store }: EnrolmentOptions, token: TokenState | undefined): Failure | undefined {
  const { open, openDevicesMax = OPEN_DEVICES_MAX } = admission;
  if (!open) return invalid("one of its own", token ? "one that is spent" : "none");
  const devices = store.countDevices();
  return devices < openDevicesMax
    ? undefined
    : fail("OPEN_ENROLMENT_FULL", `expected fewer than ${openDevicesMax} devices, ${devices} are held`).failure;
}

function checkPossession(
  options: EnrolmentOptions,
  enrolment: Enrolment,
  { publicKey, statement: vouching }: Genesis,
  kid: Uint8Array,
): Failure | undefined {
  const read = readPossession(enrolment.possession);
  if (!read.ok) return read.failure;
  const { statement, possession } = read.value;
  const leaveSha256 = options.crypto.sha256(leaveOf(enrolment.token, vouching));
  if (!equalBytes(statement.kid, kid)) return unproved(`kid ${toHex(kid)}, as in genesis`, toHex(statement.kid));
  if (possession.origin !== options.origin) return unproved(`the origin ${options.origin}`, possession.origin);
  if (!equalBytes(possession.leaveSha256, leaveSha256)) return unproved("the hash of token or statement", "another");
  if (!options.challenges.isCurrent(possession.challenge)) return unproved("a current challenge", "another");
  return verifySignature(options.crypto.ed25519, statement.signature, statement.signedBytes, publicKey)
    ? undefined
    : unproved("the signature of the announced key", "another");
}

function unproved(expected: string, received: string): Failure {
  return fail("POSSESSION_UNPROVED", `expected ${expected}, received ${received}`).failure;
}

function invalid(expected: string, received: string): Failure {
  return fail("TOKEN_INVALID", `expected ${expected}, received ${received}`).failure;
}
