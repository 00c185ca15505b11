import { entry } from "./entry.js";

/** Codes about a log, its notes, checkpoints and proofs; part of the one table. */
export const LOG_CODES = Object.freeze({
  CHECKPOINT_MALFORMED: entry(
    400,
    "the text is not a checkpoint of this log",
    "compare it with C2SP tlog-checkpoint and modules/log/SPEC.md",
  ),
  CHECKPOINT_STALE: entry(
    409,
    "the checkpoint is older than the one held",
    "nothing: an old answer changes nothing; ask again",
  ),
  CONSISTENCY_FALSE: entry(
    422,
    "the newer tree does not begin with the older one",
    "keep both checkpoints: signed by one key they prove that the log shows two histories",
  ),
  INCLUSION_FALSE: entry(
    422,
    "the path does not lead from this entry to the tree's root",
    "fetch the proof again; the entry was changed or is not in this tree",
  ),
  LOG_BEHIND: entry(
    503,
    "a larger tree of this log is known than the lock and the files hold",
    "the log was restored from an old copy: bring back the newer tiles and lock; it signs nothing until then",
  ),
  LOG_ENTRY_UNKNOWN: entry(404, "the log holds no such entry or tree", "ask for one below the checkpoint's size"),
  LOG_FILE_ABSENT: entry(
    404,
    "a file of the log is not where its files were looked for",
    "name a folder or an address that has all of the log up to the checkpoint",
  ),
  LOG_FORKED: entry(
    500,
    "two trees of one log contradict each other",
    "stop: keep both checkpoints and all files, and find out which process or copy signed the other",
  ),
  LOG_IO_FAILED: entry(
    503,
    "the log's files could not be read or written",
    "check disk, space and permissions; a running relay tries again by itself and goes on once they are right, a start has to be done again: the log recovers forward",
  ),
  LOG_KEY_EXISTS: entry(500, "a key of a log is there already", "nothing: a log keeps its key; a new one is a new log"),
  LOG_KEY_MALFORMED: entry(
    500,
    "the log's key file holds no key of this log",
    "restore the key file from its backup; a new key is a new log",
  ),
  LOG_KEY_MISSING: entry(
    500,
    "the log's key file is gone",
    "restore it from its backup, or put another in its place: tallystick relay-key rotate --log",
  ),
  LOG_KEY_UNSAFE: entry(500, "others may read the log's key file", "chmod 600 the file, and think of the key as known"),
  LOG_LATE: entry(
    503,
    "a record waits longer for the log than the relay has promised",
    "look for log did not advance in the relay's log; where nothing is said there, set limits.checkpoint_interval_ms to at most half of relay.log_within_s",
  ),
  LOG_LOCK_CORRUPT: entry(
    500,
    "the log's lock holds no checkpoint of this log",
    "restore the lock from the newest published checkpoint, after comparing it with witnesses and ledger",
  ),
  LOG_LOCK_HELD: entry(
    503,
    "another process has the log open",
    "stop the other process first; one sequences at a time",
  ),
  LOG_LOCK_MISSING: entry(
    500,
    "the log has signed before, but its lock is gone",
    "put it back with tallystick restore --from BACKUPS --newest FILE, where FILE is the newest checkpoint that anyone has: compare what is published here with mirrors, witnesses, devices and ledger",
  ),
  LOG_LOCK_MOVED: entry(500, "the log's lock was changed by someone else", "stop all relays of this log and start one"),
  LOG_SIGNER_REFUSED: entry(
    500,
    "the log's key signs only what extends what it signed last",
    "bring lock and tiles to the newest signed tree; the key's memory is never to be deleted",
  ),
  LOG_SIGNER_STATE_CORRUPT: entry(
    500,
    "the log key's memory of what it signed last cannot be read",
    "restore it from the lock's checkpoint, after comparing that with witnesses and ledger",
  ),
  LOG_TILE_CORRUPT: entry(
    500,
    "a tile or bundle of the log does not hold what was signed",
    "restore the file from a mirror or backup, or stop the relay and run tallystick fsck --repair, which makes it again from what is left: the root says which bytes are right",
  ),
  LOG_TILE_MISSING: entry(
    500,
    "a tile or bundle of the log is gone",
    "restore the file from a mirror or backup, or stop the relay and run tallystick fsck --repair, which makes it again from what is left: the root says which bytes are right",
  ),
  NOTE_KEY_MALFORMED: entry(
    400,
    "the text is not a verifier key",
    "copy the whole line <name>+<key id>+<key> from the log's or witness's operator",
  ),
  NOTE_MALFORMED: entry(400, "the text is not a signed note", "compare it with C2SP signed-note"),
  NOTE_UNSIGNED: entry(
    422,
    "no known key signed the note",
    "check which log this is, and that its verifier key is among the known ones",
  ),
  PROOF_MALFORMED: entry(
    400,
    "the path cannot belong to a tree of this size",
    "fetch the proof again for the size that the checkpoint states",
  ),
  SERVER_UNREACHABLE: entry(
    502,
    "the server gave no answer that could be taken",
    "check the address and the network, then run it again",
  ),
});
