import { entry } from "./entry.js";

/** Codes about a relay's data over time: what is examined, copied and restored; part of the one table. */
export const BACKUP_CODES = Object.freeze({
  BACKUP_MISSING: entry(
    404,
    "there is no complete backup in the folder",
    "name the folder that tallystick backup wrote; one that was interrupted is not complete: make it again",
  ),
  BACKUP_DAMAGED: entry(
    500,
    "the backup does not hold what its manifest says",
    "nothing was restored: use another copy of it, or an earlier backup, and check the disk that it was on",
  ),
  BACKUP_UNREADABLE: entry(
    500,
    "the folder of backups cannot be read",
    "run this as the user who made the backups, mostly the relay's, or give this one leave to read them; nothing was changed",
  ),
  BACKUP_FOREIGN: entry(
    409,
    "the backup is of another relay",
    "name this relay's own backup, or another folder: nothing was changed",
  ),
  BACKUP_BEHIND: entry(
    409,
    "the folder holds a newer tree than can be restored",
    "nothing was changed: bring the tiles beyond the backup from a mirror of the log or a newer backup, then restore again",
  ),
  BACKUP_TARGET_TAKEN: entry(
    409,
    "the folder holds a file that a restore would replace",
    "nothing was changed: a restore only adds what is missing; move the file aside if it is damaged, together with its -wal",
  ),
  BACKUP_UNWRITABLE: entry(
    507,
    "the backup cannot be written",
    "make room or give leave to write, then do it again: what was begun is not taken for a backup",
  ),
  LOG_LOCK_UNPROVED: entry(
    409,
    "the checkpoint cannot be made the log's lock",
    "name the newest checkpoint that anyone has of this log: from its mirrors, its witnesses, its devices, or as anchored on its ledger",
  ),
  STORE_INCOHERENT: entry(
    500,
    "rows of the relay's database contradict each other, or the log",
    "stop, copy the data folder, then restore the database from a backup: the log gives back what it holds",
  ),
  STORE_UNEXAMINED: entry(
    503,
    "the database could not be examined here",
    "start this version of the relay once, which brings the database to its form, then examine it again",
  ),
});
