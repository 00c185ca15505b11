import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Failure, fail } from "tallystick/codes/codes";
import { verifySignature } from "tallystick/identity/ed25519";
import { readGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, recordId } from "tallystick/record/record";
import { type Enrolment, type Request, readEnrolment, readPossession } from "tallystick/sync/messages";
import type { Challenges } from "./challenge.js";
import { checkRecord, forkRefusal, type IngestOptions, newRecord } from "./ingest.js";
import type { Refusal } from "./problem.js";
import type { StoredDevice } from "./store/store.js";
import { spendToken, tokenState } from "./store/tokens.js";

/**
 * Letting a device in: a free token, proof that the sender holds the key, and the chain's genesis. The cheap questions
 * come first, and without a token nothing of the record is looked at. The same enrolment again is answered as the first.
 */

export interface EnrolmentOptions extends IngestOptions {
  readonly challenges: Challenges;
  /** What a proof of possession must name: this relay. */
  readonly origin: string;
}

export type Enrolled =
  | { readonly request: Request; readonly device: StoredDevice; readonly isNew: boolean }
  | { readonly refusal: Refusal };

/** Takes the body of `POST /v1/devices`. Throws what the database throws; then nobody was enrolled. */
export function enrolDevice(options: EnrolmentOptions, body: Uint8Array): Enrolled {
  const { store, crypto } = options;
  const read = readEnrolment(body);
  if (!read.ok) return { refusal: read };
  const enrolment = read.value;

  const tokenSha256 = crypto.sha256(enrolment.token);
  const token = tokenState(store.database, tokenSha256, options.nowMs());
  if (token.state === "unknown" || token.state === "expired")
    return refuse(
      "TOKEN_INVALID",
      `expected a token that was made here and is current, received one that is ${token.state}`,
    );

  const parsed = parseRecord(enrolment.genesis);
  if (!parsed.ok) return { refusal: parsed };
  const record = parsed.value;
  if (record.header.kind !== Kind.genesis)
    return refuse("RECORD_MALFORMED", `expected a genesis record, received kind ${record.header.kind}`);
  const genesis = readGenesis(record.payload);
  if (!genesis.ok) return { refusal: genesis };
  // A chain is continued by its former key's word alone, or anyone with a token could close another's.
  if (genesis.value.predecessor)
    return refuse("SUCCESSION_FALSE", "expected a genesis without predecessor, or its succession statement");
  const { kid } = record.header;
  const { publicKey } = genesis.value;
  const unproved = checkPossession(options, enrolment, tokenSha256, kid, publicKey);
  if (unproved) return { refusal: { failure: unproved } };
  const checked = checkRecord(crypto, { kid, publicKey }, record);
  if (!checked.ok) return { refusal: checked };

  const id = recordId(crypto.sha256, record.bytes);
  const known = store.deviceByKid(kid);
  if (known) {
    if (!equalBytes(known.publicKey, publicKey))
      return refuse("KEY_MISMATCH", `another key with the kid ${toHex(kid)} is enrolled`);
    if (equalBytes(known.genesisId, id)) return { request: enrolment.request, device: known, isNew: false };
    store.transaction(() => store.keepFork(known.device, newRecord(record, id), options.nowMs()));
    return { refusal: forkRefusal(0, known.genesisId, id) };
  }
  if (token.state === "used") return refuse("TOKEN_INVALID", "expected a token of its own, received one that is spent");
  const device = store.transaction(() => {
    const nowMs = options.nowMs();
    const added = store.addDevice(kid, publicKey, newRecord(record, id), nowMs);
    spendToken(store.database, tokenSha256, added.device, nowMs);
    return added;
  });
  return { request: enrolment.request, device, isNew: true };
}

function checkPossession(
  options: EnrolmentOptions,
  enrolment: Enrolment,
  tokenSha256: Uint8Array,
  kid: Uint8Array,
  publicKey: Uint8Array,
): Failure | undefined {
  const read = readPossession(enrolment.possession);
  if (!read.ok) return read.failure;
  const { statement, possession } = read.value;
  if (!equalBytes(statement.kid, kid)) return unproved(`kid ${toHex(kid)}, as in genesis`, toHex(statement.kid));
  if (possession.origin !== options.origin) return unproved(`the origin ${options.origin}`, possession.origin);
  if (!equalBytes(possession.tokenSha256, tokenSha256)) return unproved("the token's hash", "another");
  if (!options.challenges.isCurrent(possession.challenge)) return unproved("a current challenge", "another");
  return verifySignature(options.crypto.ed25519, statement.signature, statement.signedBytes, publicKey)
    ? undefined
    : unproved("the signature of the announced key", "another");
}

function unproved(expected: string, received: string): Failure {
  return fail("POSSESSION_UNPROVED", `expected ${expected}, received ${received}`).failure;
}

function refuse(
  code: "TOKEN_INVALID" | "RECORD_MALFORMED" | "KEY_MISMATCH" | "SUCCESSION_FALSE",
  detail: string,
): Enrolled {
  return { refusal: fail(code, detail) };
}
