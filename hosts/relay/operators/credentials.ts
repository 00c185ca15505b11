import { randomBytes, timingSafeEqual } from "node:crypto";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Sha256 } from "tallystick/identity/crypto";
import type { OperatorStore, StoredOperatorToken } from "../store/operators.js";

/**
 * Operator tokens: `tsop_`, the id by which the token is found and named, and 32 random bytes, both in hexadecimal digits.
 * The prefix is for programs that search texts for secrets that have got out.
 *
 * What is stored is the SHA-256 of all of it. A hash that is made slow on purpose protects secrets that people choose: of
 * 256 random bits nobody tries a noticeable part, however fast he hashes.
 *
 * **Constant time.** The id, which is no secret, finds the row; hashes are compared by timingSafeEqual, once for each token
 * that has the form of one, whether its id is known or not, so that time tells neither an id nor how near a guess was.
 */

export const OPERATOR_TOKEN_PREFIX = "tsop_";
const ID_BYTES = 8;
const SECRET_BYTES = 32;
/** Digits of an id. */
export const OPERATOR_ID_PATTERN = `[0-9a-f]{${2 * ID_BYTES}}`;
const TOKEN = new RegExp(`^${OPERATOR_TOKEN_PREFIX}(${OPERATOR_ID_PATTERN})_[0-9a-f]{${2 * SECRET_BYTES}}$`);
/** RFC 9110 §11.1: the scheme's case does not matter. */
const AUTHORIZATION = /^bearer +(\S+)$/i;

/** That a token was used is written once in so long, so that reading does not become writing. */
export const USED_EVERY_MS = 60_000;

export interface NewOperatorToken {
  readonly token: string;
  readonly id: string;
  readonly sha256: Uint8Array;
}

export function newOperatorToken(sha256: Sha256): NewOperatorToken {
  const id = randomBytes(ID_BYTES).toString("hex");
  const token = `${OPERATOR_TOKEN_PREFIX}${id}_${randomBytes(SECRET_BYTES).toString("hex")}`;
  return { token, id, sha256: hashOf(sha256, token) };
}

function hashOf(sha256: Sha256, token: string): Uint8Array {
  return sha256(new Uint8Array(Buffer.from(token, "ascii")));
}

export interface CredentialsOptions {
  readonly store: OperatorStore;
  readonly sha256: Sha256;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Takes the same time wherever the two differ; default Node's timingSafeEqual. */
  readonly isEqual?: (a: Uint8Array, b: Uint8Array) => boolean;
}

/** Finds out on whose word a request comes. */
export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #isEqual: (a: Uint8Array, b: Uint8Array) => boolean;
  /** What an unknown id is compared with: nobody knows what has this hash. */
  readonly #nobodys = new Uint8Array(randomBytes(32));

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#isEqual = options.isEqual ?? timingSafeEqual;
  }

  /**
   * The token of an `Authorization` header, where it counts. OPERATOR_UNKNOWN, in the same words whatever is wrong with what
   * came; OPERATOR_TOKEN_ENDED to who has the token itself.
   */
  check(authorization: string | undefined): Result<StoredOperatorToken> {
    const { store, sha256, nowMs } = this.#options;
    if (authorization === undefined) return unknown("none");
    const token = AUTHORIZATION.exec(authorization)?.[1] ?? "";
    const id = TOKEN.exec(token)?.[1];
    if (id === undefined) return unknown("something else");
    const stored = store.operatorToken(id);
    const hash = hashOf(sha256, token);
    const isEqual = this.#isEqual(hash, stored?.sha256 ?? this.#nobodys);
    if (!isEqual || !stored) return unknown("something else");
    const ended = endOf(stored, nowMs());
    return ended ? { ok: false, failure: ended } : ok(stored);
  }

  /** Writes that the token was used, unless that was done just now. */
  used({ id }: StoredOperatorToken): void {
    const nowMs = this.#options.nowMs();
    this.#options.store.setUsed(id, nowMs, nowMs - USED_EVERY_MS);
  }
}

/** Why a token does not count any more. */
function endOf({ revokedAtMs, expiresAtMs }: StoredOperatorToken, nowMs: number): Failure | undefined {
  const [how, atMs] = revokedAtMs === undefined ? ["expired", expiresAtMs] : ["was revoked", revokedAtMs];
  return revokedAtMs === undefined && expiresAtMs > nowMs
    ? undefined
    : fail("OPERATOR_TOKEN_ENDED", `it ${how} at ${new Date(atMs).toISOString()}`).failure;
}

function unknown(received: string): { readonly ok: false; readonly failure: Failure } {
  return fail("OPERATOR_UNKNOWN", `expected Authorization: Bearer and a token of this relay, received ${received}`);
}
