import { fail, ok, type Result } from "../codes/codes.js";
import { Identity } from "../identity/identity.js";
import { openSuccession, type Succession } from "../identity/succession.js";
import { Journal } from "../journal/journal.js";
import { readToken } from "../sync/enrolment.js";
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

/** A key is made only where provisioning left a token and nothing was ever sent; or to succeed one, by `Device`. */
export function openKey({ keys, crypto, entropy, flash }: Platform): Result<OpenedKey> {
  const succession = openSuccession({ keys, crypto });
  if (!succession.ok) return succession;
  if (succession.value) return ok({ identity: succession.value.next, succession: succession.value, isNew: false });
  const opened = Identity.open({ keys, crypto });
  if (!opened.ok) return opened;
  if (opened.value) return ok({ identity: opened.value, succession: undefined, isNew: false });
  const sent = readSentMark(keys);
  if (!sent.ok) return sent;
  if (readToken(keys) === undefined || sent.value !== undefined)
    return fail("DEVICE_NOT_PROVISIONED", "the key store holds no seed, and no token that lets the device make one");
  // Erased units of an encrypted partition read as anything: blank cannot be told from damaged. Beside a key that is
  // only now made, what cannot be read is nobody's.
  if (flash.writeUnitBytes > 1 && keys.read(FORMAT_NAME) === undefined)
    keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_IF_UNREADABLE));
  const made = Identity.create({ keys, crypto, entropy });
  return made.ok ? ok({ identity: made.value, succession: undefined, isNew: true }) : made;
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
  if (readToken(keys) === undefined || sent.value !== undefined)
    return fail("DEVICE_NOT_PROVISIONED", "the journal is blank, and there is no leave to begin one");
  keys.write(FORMAT_NAME, Uint8Array.of(FORMAT_BEGUN));
  const formatted = Journal.format(flash);
  if (!formatted.ok) return formatted;
  keys.delete(FORMAT_NAME);
  return ok(true);
}
