import { entry } from "./entry.js";

/** Codes about a journal in flash; part of the one table. */
export const JOURNAL_CODES = Object.freeze({
  JOURNAL_BLANK: entry(
    500,
    "the partition is erased: no journal was ever made on it",
    "provision the device; a journal is never made because none could be read",
  ),
  JOURNAL_FILLING: entry(
    507,
    "the journal fills while nothing is released",
    "bring the relay back; when it is full the device stops, or does what its options say",
  ),
  JOURNAL_FLASH_FAILED: entry(
    500,
    "the flash reported a fault or does not hold what was written",
    "nothing was committed; start again, and replace the board if it stays",
  ),
  JOURNAL_FOREIGN: entry(
    409,
    "the journal was written with another device's key",
    "check that flash and key store belong to one device; nothing was changed",
  ),
  JOURNAL_FORMAT_CUT: entry(
    500,
    "the power went while the partition was being formatted",
    "format it again: nothing was in it yet",
  ),
  JOURNAL_FULL: entry(
    507,
    "the journal has no room that may be erased",
    "let the device sync: released records make room; nothing was erased",
  ),
  JOURNAL_GEOMETRY: entry(
    500,
    "the partition is of another size or shape than the journal's",
    "check the partition table; nothing was changed",
  ),
  JOURNAL_NEWER: entry(
    500,
    "the journal is of a newer format",
    "install the firmware that wrote it, or a newer one; nothing was changed",
  ),
  JOURNAL_RECORD_ABSENT: entry(404, "the journal does not hold this position", "ask the relay for it"),
  JOURNAL_RECORD_DAMAGED: entry(
    500,
    "the flash changed a record that was committed",
    "fetch the record from the relay; the journal never returns it as it is now",
  ),
  JOURNAL_RELEASE_FALSE: entry(
    409,
    "the released position is not one of this journal's records",
    "nothing was released: compare the acknowledgement with the journal",
  ),
  JOURNAL_TAIL_DAMAGED: entry(
    500,
    "the newest record was committed, and the flash changed it since",
    "fetch the record from the relay and restore it, or end the chain with a succession; nothing is signed until then",
  ),
  JOURNAL_UNREADABLE: entry(
    500,
    "the partition holds no journal that can be read",
    "keep an image of it; only provisioning formats a partition, and it ends what was there",
  ),
});
