import { entry } from "./entry.js";

/** Codes of a witness (C2SP tlog-witness), and of a log that asks one; part of the one table. */
export const WITNESS_CODES = Object.freeze({
  WITNESS_REQUEST_MALFORMED: entry(
    400,
    "the body does not ask a witness for a cosignature",
    "compare it with C2SP tlog-witness and modules/log/SPEC.md",
  ),
  WITNESS_LOG_UNKNOWN: entry(
    404,
    "the witness was not told of this log",
    "ask the witness's operator to start it with --log-key and the log's verifier key",
  ),
  WITNESS_LOG_UNSIGNED: entry(
    403,
    "the checkpoint is not signed by a key that the witness knows of this log",
    "if the log's key has changed, ask the witness's operator to add --log-key with the new one",
  ),
  WITNESS_SIZE_DIFFERS: entry(
    409,
    "the old size is not the one that the witness cosigned last",
    "ask again from the size in the answer",
  ),
  WITNESS_PROOF_FALSE: entry(
    422,
    "the checkpoint does not continue what the witness cosigned last",
    "keep both checkpoints: signed by one key they prove that the log shows two histories",
  ),
  WITNESS_IO_FAILED: entry(
    503,
    "the witness could not read or write its memory",
    "nothing was cosigned; check disk, space and permissions, then ask again",
  ),
  WITNESS_MEMORY_CORRUPT: entry(
    500,
    "the witness's memory of a log cannot be read",
    "restore the file from the newest checkpoint with this witness's line that anyone has; without it nothing is cosigned",
  ),
  WITNESS_FOLDER_BLANK: entry(
    500,
    "the data folder holds no witness",
    "make a new one there with --init and --name, or name the folder of an existing one",
  ),
  WITNESS_FOLDER_HELD: entry(
    500,
    "another process works on the witness's data folder",
    "stop it first, or give this witness a folder of its own",
  ),
  WITNESS_KEY_MISSING: entry(
    500,
    "the witness's key is gone beside existing data",
    "restore the file from a backup; a new key is a new witness and takes a new folder",
  ),
  WITNESS_KEY_UNSAFE: entry(
    500,
    "others may read the witness's key file",
    "chmod 600 the file; if anyone may have read it, make a new witness and tell who relies on this one",
  ),
  WITNESS_KEY_MALFORMED: entry(
    500,
    "the witness's key file holds no witness's key, or another's",
    "restore the file from its backup, or correct --name",
  ),
  WITNESS_OPTION_MALFORMED: entry(
    400,
    "these are no witnesses that a relay can ask",
    "give each as <url>=<verifier key>, the line that tallystick witness prints",
  ),
  WITNESS_UNREACHABLE: entry(
    502,
    "the witness gave no answer",
    "check its address and the network; the log goes on, and it is asked again",
  ),
  WITNESS_REFUSED: entry(
    502,
    "the witness refuses the log's checkpoint",
    "ask its operator whether the log's present key is known there; the log goes on without its cosignature",
  ),
  WITNESS_ANSWER_FALSE: entry(
    502,
    "the witness's answer does not hold",
    "check address and key of the witness; nothing of the answer was used",
  ),
  WITNESSES_LACKING: entry(
    503,
    "fewer witnesses cosign than are wanted",
    "GET /v1/relay says which ones do, and what is in the way of the others",
  ),
});
