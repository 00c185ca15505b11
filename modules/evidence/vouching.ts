import { ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { checkVouched, readMakerStatement, verifyMakerStatement } from "../record/maker.js";
import { readGenesis } from "../record/payload.js";
import { Kind, type Record } from "../record/record.js";

/** A key that one of the policy's makers vouches for. */
export interface Vouching {
  readonly publicKey: Uint8Array;
  readonly maker: Uint8Array;
}

/**
 * What one of `makers` says in a genesis record. Undefined where none of them says anything there: what an owner or a
 * stranger states, and what cannot be read, is nobody's word. MAKER_FALSE, MAKER_MISMATCH where one of them is said to and
 * has not, or has spoken of another device.
 */
export function vouchingOf(
  crypto: Crypto,
  makers: readonly Uint8Array[],
  { header, payload }: Record,
): Result<Vouching> | undefined {
  const genesis = header.kind === Kind.genesis && makers.length > 0 ? readGenesis(payload) : undefined;
  if (!genesis?.ok || !genesis.value.statement) return undefined;
  const read = readMakerStatement(genesis.value.statement);
  if (!read.ok) return undefined;
  const maker = verifyMakerStatement(crypto, read.value, makers);
  if (!maker.ok) return maker.failure.code === "MAKER_UNKNOWN" ? undefined : maker;
  const { publicKey, firmware } = genesis.value;
  const about = checkVouched(read.value.vouched, { publicKey, firmwareSha256: firmware.sha256 });
  return about.ok ? ok({ publicKey, maker: maker.value }) : about;
}
