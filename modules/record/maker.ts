import { equalBytes, toHex, utf8 } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { verifySignature } from "../identity/ed25519.js";
import { didKey, kidOf } from "../identity/key.js";
import type { Cbor } from "./cbor.js";
import { coseKey, publicKeyOf } from "./payload.js";
import { ID_BYTES } from "./record.js";
import { makeStatement, readStatement, type Statement } from "./statement.js";

/**
 * A maker's word for a device that it has made: this key is on this chip, under this firmware. The device puts it into
 * its genesis record, so that whoever trusts the maker needs no list of devices. Bytes as in SPEC.md.
 */

export const MAKER_TYP = "application/vnd.tallystick.device+cbor";
/** What genesis has room for. */
export const MAKER_STATEMENT_MAX_BYTES = 1024;
export const CHIP_MIN_BYTES = 4;
export const CHIP_MAX_BYTES = 16;
export const MAKER_TEXT_MAX_BYTES = 64;
/** Makers that one relay can be told to trust. */
export const MAKERS_MAX = 16;

/** What a maker vouches for. */
export interface Vouched {
  /** The device's key, made on the device. */
  readonly publicKey: Uint8Array;
  /** What the chip calls itself, 4 to 16 bytes: of an ESP32 its factory MAC address. */
  readonly chip: Uint8Array;
  /** SHA-256 of the firmware that ran when the key was made, 32 bytes. */
  readonly firmwareSha256: Uint8Array;
  /** Whose device it is. */
  readonly ownerKey?: Uint8Array;
  /** A batch or a serial number, at most 64 bytes of UTF-8. */
  readonly text?: string;
}

/** A statement that was read; whose it is, is for `verifyMakerStatement`. */
export interface MakerStatement {
  readonly statement: Statement;
  readonly vouched: Vouched;
}

/** What a device, or its genesis record, says of itself. */
export interface VouchedDevice {
  readonly publicKey: Uint8Array;
  readonly firmwareSha256: Uint8Array;
  /** Where it is known: genesis does not say it. */
  readonly chip?: Uint8Array;
}

/** Makes the statement. `sign` signs by the maker's key, whose kid is `makerKid`. */
export function makeMakerStatement(
  makerKid: Uint8Array,
  vouched: Vouched,
  sign: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const payload = new Map<number, Cbor>([
    [1, coseKey(vouched.publicKey)],
    [2, vouched.chip],
    [3, vouched.firmwareSha256],
  ]);
  if (vouched.ownerKey) payload.set(4, coseKey(vouched.ownerKey));
  if (vouched.text !== undefined) payload.set(5, vouched.text);
  return makeStatement(MAKER_TYP, makerKid, payload, sign);
}

/** Reads a statement strictly. MAKER_MALFORMED says what did not fit; nothing is verified. */
export function readMakerStatement(bytes: Uint8Array): Result<MakerStatement> {
  if (bytes.length > MAKER_STATEMENT_MAX_BYTES)
    return malformed(`at most ${MAKER_STATEMENT_MAX_BYTES} bytes, received ${bytes.length}`);
  const read = readStatement(MAKER_TYP, bytes);
  if (!read.ok) return fail("MAKER_MALFORMED", read.failure.detail);
  const map = read.value.payload;
  for (const label of map.keys()) if (!LABELS.includes(label as number)) return malformed("the labels 1 to 5 alone");
  const publicKey = publicKeyOf(map.get(1));
  if (!publicKey) return malformed("the device's key, one that the rule accepts, at label 1");
  const [chip, firmwareSha256, owner, text] = [map.get(2), map.get(3), map.get(4), map.get(5)];
  if (!(chip instanceof Uint8Array) || chip.length < CHIP_MIN_BYTES || chip.length > CHIP_MAX_BYTES)
    return malformed(`a chip id of ${CHIP_MIN_BYTES} to ${CHIP_MAX_BYTES} bytes at label 2`);
  if (!(firmwareSha256 instanceof Uint8Array) || firmwareSha256.length !== ID_BYTES)
    return malformed(`SHA-256 of the firmware, ${ID_BYTES} bytes, at label 3`);
  const ownerKey = publicKeyOf(owner);
  if (owner !== undefined && !ownerKey) return malformed("the owner's key, one that the rule accepts, at label 4");
  if (text !== undefined && (typeof text !== "string" || text === "" || utf8(text).length > MAKER_TEXT_MAX_BYTES))
    return malformed(`a text of 1 to ${MAKER_TEXT_MAX_BYTES} bytes at label 5`);
  return ok({
    statement: read.value,
    vouched: {
      publicKey,
      chip,
      firmwareSha256,
      ...(ownerKey && { ownerKey }),
      ...(typeof text === "string" && { text }),
    },
  });
}

const LABELS: readonly number[] = [1, 2, 3, 4, 5];

/** The public key of the maker among `makers` that signed. MAKER_UNKNOWN where it names none of them, MAKER_FALSE where the signature does not hold. */
export function verifyMakerStatement(
  crypto: Crypto,
  { statement }: MakerStatement,
  makers: readonly Uint8Array[],
): Result<Uint8Array> {
  // A kid has 64 bits: that two makers share one is no reason to refuse either.
  const named = makers.filter((maker) => equalBytes(kidOf(crypto.sha256, maker), statement.kid));
  if (named.length === 0)
    return fail("MAKER_UNKNOWN", `expected a maker that is trusted here, received the kid ${toHex(statement.kid)}`);
  const { signature, signedBytes } = statement;
  const maker = named.find((key) => verifySignature(crypto.ed25519, signature, signedBytes, key));
  return maker
    ? ok(maker)
    : fail("MAKER_FALSE", `expected the signature of ${didKey(named[0]!)}, received one that does not hold`);
}

/** Whether the statement is about this device. MAKER_MISMATCH names what differs. */
export function checkVouched(vouched: Vouched, device: VouchedDevice): Result<void> {
  if (!equalBytes(vouched.publicKey, device.publicKey))
    return mismatch(`the key ${didKey(device.publicKey)}`, didKey(vouched.publicKey));
  if (!equalBytes(vouched.firmwareSha256, device.firmwareSha256))
    return mismatch(`the firmware ${toHex(device.firmwareSha256)}`, toHex(vouched.firmwareSha256));
  if (device.chip && !equalBytes(vouched.chip, device.chip))
    return mismatch(`the chip ${toHex(device.chip)}`, toHex(vouched.chip));
  return ok(undefined);
}

function mismatch(expected: string, received: string): Result<never> {
  return fail("MAKER_MISMATCH", `expected a statement for ${expected}, received one for ${received}`);
}

function malformed(expected: string): Result<never> {
  return fail("MAKER_MALFORMED", `expected ${expected}`);
}
