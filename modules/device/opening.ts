import { toHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import { Identity, SEED_NAME } from "../identity/identity.js";
import { didKey } from "../identity/key.js";
import { openSuccession, type Succession } from "../identity/succession.js";
import { Journal } from "../journal/journal.js";
import { checkVouched, readMakerStatement } from "../record/maker.js";
import { hasLeave, readMaker } from "../sync/enrolment.js";
import { type RelayPins, readRelayPins } from "../sync/relay-pins.js";
import { readSentMark } from "../sync/sent-mark.js";
import type { Platform } from "./platform.js";

/**
 * What a start opens before anything else: the key, and the journal that it signs. Both are made at most once in a
 * device's life, under the leave that provisioning left, and never because something else failed (identity/SPEC.md).
 */

/** In the key store from the making of a key on encrypted flash, or from the beginning of a formatting, to its end. */
const FORMAT_NAME = "format";
const FORMAT_BEGUN = 1;
const FORMAT_IF_UNREADABLE = 2;

export interface OpenedKey {
  /** The key in use. */
  readonly identity: Identity;
  /** While the key that this one succeeds is still kept. */
  readonly succession: Succession | undefined;
  /** It was made by this start. */
  readonly isNew: boolean;
}

/** The relay that the key store names. DEVICE_NOT_PROVISIONED, KEY_UNREADABLE. */
export function openRelay(platform: Platform): Result<RelayPins> {
  const pins = readRelayPins(platform.keys, platform.crypto.sha256);
  return pins.ok || pins.failure.code !== "DEVICE_NOT_PROVISIONED"
    ? pins
    : notProvisioned(platform, pins.failure.detail);
}

/** A key is made only where provisioning left leave and nothing was ever sent; or to succeed one, by `Device`. */
export function openKey(platform: Platform): Result<OpenedKey> {
  const { keys, flash } = platform;
  const succession = openSuccession(platform);
  if (!succession.ok) return succession;
  if (succession.value) return ok({ identity: succession.value.next, succession: succession.value, isNew: false });
  const opened = Identity.open(platform);
  if (!opened.ok) return opened;
  if (opened.value) return ok({ identity: opened.value, succession: undefined, isNew: false });
  const sent = readSentMark(keys);
  if (!sent.ok) return sent;
  if (!hasLeave(keys) || sent.value !== undefined)
    return notProvisioned(platform, "the key store holds no seed, and no leave that lets the device make one");
  // Erased units of an encrypted partition read as anything: blank cannot be told from damaged. Beside a key that is
  // only now made, what cannot be read is nobody's.
  if (flash.writeUnitBytes > 1 && keys.read(FORMAT_NAME) === undefined)
    keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_IF_UNREADABLE));
  const made = Identity.create(platform);
  return made.ok ? ok({ identity: made.value, succession: undefined, isNew: true }) : made;
}

/**
 * DEVICE_NOT_PROVISIONED. Where the key store was lost, it also names for a person the keys that the board itself remembers:
 * its chain is by one of them. None is taken up again: without the sent mark nobody here knows what of its chain others hold.
 */
function notProvisioned({ keys, seeds, crypto }: Platform, detail: string): Result<never> {
  const references = seeds && keys.read(SEED_NAME) === undefined ? seeds.newest() : [];
  const names = references.flatMap((reference) => {
    const seed = seeds!.resolve(reference);
    return seed ? [`${toHex(Identity.ofSeed(seed, crypto).kid)}, seed ${toHex(reference)}`] : [];
  });
  const made = names.length === 0 ? "" : `; the last keys that the board has made: ${names.join("; before it ")}`;
  return fail("DEVICE_NOT_PROVISIONED", detail + made);
}

/** What a new key and its board are called, for whoever will vouch for them. */
export function namesOf({ chip }: Platform, { kid, publicKey }: Identity): string {
  return `kid=${toHex(kid)} did=${didKey(publicKey)}${chip ? ` chip=${toHex(chip)}` : ""}`;
}

/**
 * The maker's statement for genesis, seen to be about this key, chip and firmware; undefined where provisioning asked for
 * none. Whose it is the relay and the verifier judge: the device trusts no maker. MAKER_AWAITED while a person has still
 * to bring it, MAKER_MALFORMED, MAKER_MISMATCH.
 */
export function openStatement(
  { keys, chip, firmware }: Platform,
  { publicKey }: Identity,
): Result<Uint8Array | undefined> {
  const bytes = readMaker(keys);
  if (bytes === undefined) return ok(undefined);
  const device = { publicKey, firmwareSha256: firmware.sha256, ...(chip && { chip }) };
  if (bytes === "awaited") {
    const names = `${didKey(publicKey)}, chip ${chip ? toHex(chip) : "unknown"}, firmware ${toHex(firmware.sha256)}`;
    return fail("MAKER_AWAITED", `expected a statement for ${names}, received none yet`);
  }
  const read = readMakerStatement(bytes);
  if (!read.ok) return read;
  const about = checkVouched(read.value.vouched, device);
  return about.ok ? ok(bytes) : about;
}

/**
 * Looks at how mounting went, and formats the partition where it is blank, or a formatting of ours was cut, for a device
 * that has never sent anything, and for no other reason. True: mount it again. Mounting takes most of a board's stack, so
 * that it is left to the caller. DEVICE_NOT_PROVISIONED, JOURNAL_FLASH_FAILED.
 */
export function formatWhereBlank({ flash, keys }: Platform, mounted: Result<unknown>): Result<boolean> {
  const mark = keys.read(FORMAT_NAME)?.[0];
  const code = mounted.ok ? undefined : mounted.failure.code;
  const blank = code === "JOURNAL_BLANK" || (code === "JOURNAL_UNREADABLE" && mark === FORMAT_IF_UNREADABLE);
  if (mark !== FORMAT_BEGUN && !blank) {
    if (mounted.ok && mark !== undefined) keys.delete(FORMAT_NAME);
    return ok(false);
  }
  const sent = readSentMark(keys);
  if (!sent.ok) return sent;
  // The mark goes before the first record is written.
  if (!hasLeave(keys) || sent.value !== undefined)
    return fail("DEVICE_NOT_PROVISIONED", "the journal is blank, and there is no leave to begin one");
  keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_BEGUN));
  const formatted = Journal.format(flash);
  if (!formatted.ok) return formatted;
  keys.delete(FORMAT_NAME);
  return ok(true);
}
