import { randomBytes } from "node:crypto";
import type { Sha256 } from "tallystick/identity/crypto";
import type { Database } from "./database.js";
import { DEFAULT_TENANT } from "./schema.js";

/**
 * Enrolment tokens: each lets one device in, once, until it expires. Only the SHA-256 is stored, so whoever reads the
 * database cannot enrol.
 *
 * The index compares hashes byte by byte and stops at the first that differs. That tells a guesser nothing: to walk along
 * a stored hash he would need inputs whose SHA-256 begins as it does, the next byte of which costs him 256 times more
 * each, and what he had in the end is the hash and no token. Nothing compares a token's own bytes.
 */

export const TOKEN_LIFETIME_MS = 24 * 60 * 60 * 1000;
const TOKEN_RANDOM_BYTES = 24;

/** What a token may still do. `usedBy` is the store's number of the device that it let in, `tenant` whose a device becomes. */
export type TokenState =
  | { readonly state: "unknown" | "expired" | "ended" }
  | { readonly state: "free"; readonly tenant: string }
  | { readonly state: "used"; readonly usedBy: number };

/**
 * Makes a token that a device of `tenant`, which is there, may enrol with until `expiresAtMs`, and stores its hash. Text of
 * 32 characters.
 */
export function makeToken(
  database: Database,
  sha256: Sha256,
  nowMs: number,
  expiresAtMs = nowMs + TOKEN_LIFETIME_MS,
  tenant: string = DEFAULT_TENANT,
): string {
  const token = randomBytes(TOKEN_RANDOM_BYTES).toString("base64url");
  database
    .prepare("INSERT INTO tokens (sha256, made_at_ms, expires_at_ms, tenant) VALUES (?, ?, ?, ?)")
    .run(sha256(Buffer.from(token, "ascii")), nowMs, expiresAtMs, tenant);
  return token;
}

export function tokenState(database: Database, tokenSha256: Uint8Array, nowMs: number): TokenState {
  const row = database
    .prepare("SELECT expires_at_ms, used_by, ended_at_ms, tenant FROM tokens WHERE sha256 = ?")
    .get(tokenSha256) as TokenRow | undefined;
  if (!row) return { state: "unknown" };
  if (row.used_by !== null) return { state: "used", usedBy: row.used_by };
  if (row.ended_at_ms !== null) return { state: "ended" };
  return row.expires_at_ms <= nowMs ? { state: "expired" } : { state: "free", tenant: row.tenant };
}

/** Spends a free token for `device`. Call inside the transaction that adds the device. */
export function spendToken(database: Database, tokenSha256: Uint8Array, device: number, nowMs: number): void {
  const spent = database
    .prepare(
      "UPDATE tokens SET used_at_ms = ?, used_by = ? " +
        "WHERE sha256 = ? AND used_by IS NULL AND ended_at_ms IS NULL RETURNING 1",
    )
    .get(nowMs, device, tokenSha256);
  if (!spent) throw new Error("the token is not free any more");
}

interface TokenRow {
  expires_at_ms: number;
  used_by: number | null;
  ended_at_ms: number | null;
  tenant: string;
}
