import { type CodeEntry, entry } from "./entry.js";
import { RELAY_KEY_CODES } from "./relay-key.js";

/**
 * Expected failures: typed results with stable codes. This table feeds device log, command line, HTTP and dashboard.
 * Programmer errors throw; what bytes, flash, network or people can cause is a Failure.
 */

export const CODES = Object.freeze({
  CBOR_INVALID: entry(
    400,
    "the bytes are not strict deterministic CBOR",
    "send what the encoder of this project, or any RFC 8949 §4.2.1 encoder, makes",
  ),
  RECORD_MALFORMED: entry(400, "the bytes are not a Tallystick record", "compare them with modules/record/SPEC.md"),
  RECORD_TOO_LARGE: entry(
    413,
    "the record is longer than a journal sector holds",
    "put fewer readings into one record",
  ),
  STATEMENT_MALFORMED: entry(
    400,
    "the bytes are not a signed statement of the expected kind",
    "compare them with modules/record/SPEC.md and the statement's own",
  ),
  SIGNATURE_INVALID: entry(
    422,
    "the signature does not verify by the one rule",
    "the record was changed, or another key signed it",
  ),
  CHAIN_GAP: entry(409, "a record between the head and this one is missing", "send the records from the head on"),
  CHAIN_FORK: entry(
    409,
    "another record already stands at this position",
    "two devices use one key, or a device was cloned: keep both records as evidence",
  ),
  CHAIN_BROKEN: entry(
    409,
    "the record contradicts its predecessor",
    "send the records in the order of the chain, unchanged",
  ),
  CHAIN_REPEATED: entry(200, "the position is held already", "nothing: sending a record again changes nothing"),
  CHAIN_CLOSED: entry(409, "the chain has ended", "the device goes on with its next key's chain"),
  GAP_FALSE: entry(
    409,
    "the gap record contradicts its chain",
    "it is signed, so keep it as evidence: the device names other records than it has sent",
  ),
  FORK_UNPROVED: entry(
    422,
    "the two records do not prove a fork",
    "a proof is two different records of one key at one position, both signed",
  ),
  FORK_MALFORMED: entry(400, "the file is not a proof of a fork", "compare it with modules/chain/SPEC.md"),
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
  KEY_UNREADABLE: entry(
    500,
    "the key store does not hold a usable seed",
    "restore the key store; no new key is ever made because one cannot be read",
  ),
  KEY_EXISTS: entry(409, "the device has a key already", "nothing: a device keeps its key; rotate it to get another"),
  KEY_FUSES_FAILED: entry(
    500,
    "the chip did not burn the fuse that counts its keys",
    "nothing was signed with that key: check the board's supply and start again; replace the board if it stays",
  ),
  KEY_FUSES_USED_UP: entry(
    409,
    "the chip has no fuse left to count another key",
    "the device keeps the key that it has; where its chain has to go on under another, replace the board",
  ),
  KEY_MISMATCH: entry(
    422,
    "the key is not the one that was expected",
    "check that flash and key store belong to one device",
  ),
  SIGNER_FAULT: entry(
    500,
    "a signature just made does not verify",
    "the board's memory or processor is faulty: take it out of service",
  ),
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
  FILE_EXISTS: entry(409, "there is a file already", "name another, or move that one away: nothing is written over"),
  FILE_UNWRITABLE: entry(500, "the file cannot be written", "name a file in a folder that you may write"),
  FILE_UNREADABLE: entry(400, "the file cannot be read", "name a file that can be read, of the size that is expected"),
  LOG_ENTRY_UNKNOWN: entry(404, "the log holds no such entry or tree", "ask for one below the checkpoint's size"),
  LOG_FORKED: entry(
    500,
    "two trees of one log contradict each other",
    "stop: keep both checkpoints and all files, and find out which process or copy signed the other",
  ),
  LOG_IO_FAILED: entry(
    503,
    "the log's files could not be read or written",
    "check disk, space and permissions, then start again: the log recovers forward",
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
    "restore the lock from the newest published checkpoint, after comparing it with witnesses and ledger",
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
    "restore the file from a mirror or backup: the checkpoint says which bytes are right",
  ),
  LOG_TILE_MISSING: entry(
    500,
    "a tile or bundle of the log is gone",
    "restore the file from a mirror or backup: the checkpoint says which bytes are right",
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
  MESSAGE_MALFORMED: entry(400, "the message is not one of the sync protocol", "compare it with modules/sync/SPEC.md"),
  BODY_TOO_LARGE: entry(413, "the body is longer than the limit", "send fewer records at once"),
  DEVICE_UNKNOWN: entry(404, "no device with this key is enrolled here", "enrol it with a token: tallystick enrol"),
  TOKEN_INVALID: entry(
    403,
    "the enrolment token is not valid",
    "make a new one with tallystick enrol; a token serves once, and not for ever",
  ),
  POSSESSION_UNPROVED: entry(
    403,
    "the sender does not prove that it holds the device's key",
    "sign this relay's origin, a fresh challenge and the hash of the token, or else of the maker's statement, with the device's key",
  ),
  ATTEMPTS_EXHAUSTED: entry(
    429,
    "too many enrolments from this address have failed",
    "try again after the Retry-After time, with what the refusals before asked for",
  ),
  OPEN_ENROLMENT_FULL: entry(
    403,
    "the relay has let in as many devices as open enrolment may",
    "enrol it with a token: tallystick enrol",
  ),
  MAKER_AWAITED: entry(
    500,
    "the device has made its key and waits for its maker's statement",
    "have the maker sign for this key with tallystick maker vouch, and write the statement into the key store as maker",
  ),
  KEY_FILE_MALFORMED: entry(
    500,
    "the file holds no key",
    "name the file that tallystick maker key or owner key wrote, or restore it from its backup",
  ),
  KEY_FILE_UNSAFE: entry(
    500,
    "others may read the key",
    "chmod 600 the file; if anyone may have read it, make another key and tell whoever trusts this one",
  ),
  MAKER_MALFORMED: entry(
    400,
    "the bytes are not a maker's statement",
    "compare them with modules/record/SPEC.md; tallystick maker vouch makes one",
  ),
  MAKER_UNKNOWN: entry(
    403,
    "the statement is by a maker that is not trusted here",
    "check whose device it is; the relay's operator names makers with --maker",
  ),
  MAKER_FALSE: entry(
    422,
    "the maker's statement is not signed by the maker that it names",
    "it was changed, or someone else made it: have the maker sign again",
  ),
  MAKER_MISMATCH: entry(
    422,
    "the maker's statement is about another device",
    "have the maker sign for this device's own key, chip and firmware",
  ),
  ACKNOWLEDGEMENT_FALSE: entry(
    422,
    "the acknowledgement does not hold",
    "nothing is released; check that the relay is the one that the device was enrolled with",
  ),
  ...RELAY_KEY_CODES,
  DEVICE_NOT_PROVISIONED: entry(
    500,
    "the device holds neither a key nor leave to make one",
    "provision it: write an enrolment token, or the leave to wait for its maker, into its key store",
  ),
  DEVICE_BEHIND: entry(
    409,
    "the relay acknowledges records that the device does not know of",
    "its flash and key store were set back together, or a copy of it runs: nothing is recorded until they are fetched back",
  ),
  DEVICE_BUSY: entry(
    503,
    "the device has more to commit than it can hold",
    "sample less often, or put more readings into one record",
  ),
  SUCCESSION_NEEDED: entry(
    409,
    "the device's chain cannot go on: records that it may have sent are lost, or it has signed another branch",
    "nothing: nothing is signed on this chain again, and the device goes on with a new key that succeeds this one",
  ),
  SUCCESSION_FALSE: entry(
    422,
    "the succession does not hold here",
    "a statement names this relay and a head that it holds, and genesis names the same head as its predecessor; a relay that was set back has to be restored from its log first",
  ),
  SUCCESSION_TAKEN: entry(
    409,
    "another key has succeeded this one already",
    "a chain has one successor: find out who made the other statement, and enrol this device anew with a token",
  ),
  SUCCESSION_KEY_TAKEN: entry(
    409,
    "the next key is no new one",
    "a succession brings a key that was never enrolled here: make one from the board's entropy",
  ),
  DEVICE_FORKED: entry(
    409,
    "this key has signed two histories, or an operator doubts it: nothing of it is taken until an operator decides",
    "look at both branches, then decide with tallystick device continue or revoke; the device loses nothing",
  ),
  KEY_REVOKED: entry(
    403,
    "the key is revoked from this position on",
    "what it signs there counts no more: make a new key for the device and enrol it with a token",
  ),
  REVOCATION_FALSE: entry(
    422,
    "the revocation is not signed by a key that may revoke this one",
    "the owner's key that genesis names may, or where it names none the relay's operator",
  ),
  REVOCATION_UNKNOWN: entry(404, "the key is not revoked here", "nothing: its records count"),
  RELAY_BEHIND: entry(
    409,
    "the relay has lost records that it had acknowledged",
    "the device keeps what it has; restore the relay from its log",
  ),
  RECEIPT_MALFORMED: entry(
    400,
    "the bytes are not a receipt of this log's kind",
    "compare them with RFC 9942 and modules/receipt/SPEC.md",
  ),
  EVIDENCE_MALFORMED: entry(400, "the file is not Tallystick evidence", "compare it with modules/evidence/SPEC.md"),
  POLICY_MALFORMED: entry(400, "the policy cannot be read", "compare it with modules/evidence/SPEC.md"),
  TRANSPORT_FAILED: entry(
    502,
    "the relay could not be reached",
    "check the network; the device keeps its records and tries again",
  ),
  ANCHOR_MALFORMED: entry(400, "the bytes are not an anchor of this kind", "compare them with modules/evidence/EVM.md"),
  ANCHOR_FOREIGN: entry(
    422,
    "the anchor is of another chain or contract than the policy names",
    "check the policy; an anchor elsewhere proves nothing about the ledger that you trust",
  ),
  ANCHOR_UNTRUSTED: entry(
    422,
    "the anchor ends in a block that the policy does not trust",
    "look the block up in a node or explorer that you trust and name its hash in the policy",
  ),
  ANCHOR_FALSE: entry(
    422,
    "the anchor's proof does not lead from the trusted block to the claimed checkpoint",
    "fetch the evidence again; it was changed, or it was never on the ledger",
  ),
  CONTRACT_COMPILE_FAILED: entry(500, "the anchor contract could not be compiled", "run npm ci and start again"),
  CONTRACT_DEPLOY_FAILED: entry(
    502,
    "the anchor contract could not be deployed",
    "check the ledger's address and the payer's funds",
  ),
  LEDGER_BINARY_MISSING: entry(
    500,
    "the development chain's program is not installed",
    "run npm ci without --omit=optional on a platform that @foundry-rs/anvil supports, or name a chain of your own",
  ),
  LEDGER_CHANGED: entry(
    409,
    "this is another chain than the one that the anchors are on",
    "bring back the chain's state, or start with a new data folder",
  ),
  LEDGER_CONFLICT: entry(
    409,
    "the ledger holds a checkpoint that this log did not sign",
    "stop the relay and find out who else uses its ledger key; nothing is submitted until an operator decides",
  ),
  LEDGER_KEY_UNREADABLE: entry(
    500,
    "the ledger key cannot be read",
    "restore the key file; no new key is ever made because one cannot be read",
  ),
  LEDGER_LIES: entry(
    502,
    "the ledger's node contradicts itself",
    "nothing is believed from such answers; use another node if it lasts",
  ),
  LEDGER_PROOF_UNAVAILABLE: entry(
    502,
    "the ledger's node does not give the proof yet",
    "nothing: it is asked again at a later block; use a node that serves eth_getProof if it lasts",
  ),
  LEDGER_REJECTED: entry(502, "the ledger refused the transaction", "check the funds of the relay's ledger account"),
  LEDGER_START_FAILED: entry(500, "the development chain did not start", "see what the chain printed"),
  LEDGER_STATE_DAMAGED: entry(
    500,
    "the development chain's state cannot be read, and the one kept before lacks final anchors",
    "restore the folder from a backup, or move it away and start with a new data folder",
  ),
  LEDGER_UNREACHABLE: entry(
    502,
    "the ledger's node does not answer",
    "nothing is lost: the outbox goes on when it answers; check the node",
  ),
  STORE_MISSING: entry(
    500,
    "the relay's database is not in its data folder",
    "restore it from a backup; a relay that starts without it would forget what it has acknowledged",
  ),
  STORE_EXISTS: entry(409, "there is a database already", "nothing: a data folder is initialised once"),
  STORE_NEWER: entry(
    500,
    "the database was written by a newer version",
    "run that version or a later one; this one leaves it as it is",
  ),
  STORE_CORRUPT: entry(
    500,
    "the relay's database is damaged",
    "stop, copy the data folder, check the disk, then restore the database from a backup; nothing was changed",
  ),
  STORE_FAILED: entry(
    503,
    "the relay could not make the data durable",
    "nothing was acknowledged; look for a full disk or missing permissions in the relay's log",
  ),
  DATA_FOLDER_BLANK: entry(
    500,
    "the data folder holds no relay",
    "initialise a new relay there, or name the folder of an existing one",
  ),
  DATA_FOLDER_TAKEN: entry(
    409,
    "the data folder is not blank",
    "a new relay takes a folder of its own; to go on with the one that is there, start it",
  ),
  DATA_FOLDER_INCOMPLETE: entry(
    500,
    "the data folder holds some of a relay's files, but not relay.json",
    "restore relay.json from a backup; without it nothing here is touched",
  ),
  DATA_FOLDER_LOCKED: entry(
    500,
    "another relay runs on this data folder",
    "stop it first, or give this one a folder of its own",
  ),
  DATA_FOLDER_UNWRITABLE: entry(
    500,
    "the data folder cannot be written",
    "give the relay's user write permission on it, or name another folder with --data",
  ),
  RELAY_KEY_MISSING: entry(
    500,
    "a key of the relay is missing beside existing data",
    "restore the file from a backup, or have another named that devices follow: tallystick relay-key recover, or rotate --log for the log's key; none is ever made by itself",
  ),
  RELAY_KEY_UNSAFE: entry(
    500,
    "others can read the relay's key",
    "take the permissions away with chmod 600; if anyone may have read it: tallystick relay-key recover --log",
  ),
  RELAY_FOREIGN: entry(
    500,
    "the files in the data folder belong to different relays",
    "restore them from one backup, or correct the origin that the relay is started with",
  ),
  PORT_TAKEN: entry(500, "another program listens on the port", "stop it, or choose another port with --port"),
  ADDRESS_UNUSABLE: entry(500, "the relay cannot listen on the address", "choose another with --host and --port"),
  REQUEST_MALFORMED: entry(
    400,
    "the request is not one of the relay's routes",
    "compare it with hosts/relay/README.md",
  ),
  ROUTE_UNKNOWN: entry(404, "there is nothing at this address", "the routes are in hosts/relay/README.md"),
  METHOD_UNKNOWN: entry(405, "the address does not take this method", "use one of those in the Allow header"),
  MEDIA_TYPE_UNKNOWN: entry(
    415,
    "the body's type or encoding is not accepted",
    "send application/cbor or application/cbor-seq, without content encoding",
  ),
  REQUEST_SLOW: entry(408, "the request did not arrive in time", "send it again"),
  RECORD_UNKNOWN: entry(404, "no record with this id is held here", "check the id: 64 hexadecimal digits"),
  RECORD_NOT_LOGGED: entry(
    404,
    "the record is not in a checkpoint yet",
    "ask again in some seconds; the acknowledgement's log_by says by when at the latest",
  ),
  RELAY_BUSY: entry(503, "the relay has as much to do as it takes at once", "try again after the Retry-After time"),
  RELAY_STOPPING: entry(503, "the relay is stopping", "try again after the Retry-After time"),
  RELAY_FAULT: entry(
    500,
    "the relay failed at something that it should not",
    "its log has the cause; nothing was acknowledged",
  ),
} as const satisfies Record<string, CodeEntry>);

export type Code = keyof typeof CODES;

export interface Failure {
  readonly code: Code;
  /** What was expected and what came, in one sentence without a full stop. */
  readonly detail: string;
}

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export function ok<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function fail(code: Code, detail: string): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure: { code, detail } };
}

/** One line for a person: code, meaning, what was seen, what to do. */
export function explain(failure: Failure): string {
  const { means, todo } = CODES[failure.code];
  return `${failure.code}: ${means} (${failure.detail}); ${todo}`;
}
