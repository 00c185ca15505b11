import { entry } from "./entry.js";

/** Codes about keys: their making and keeping, who lets them in, who succeeds them, and whether their word counts; part of the one table. */
export const KEY_CODES = Object.freeze({
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
    "look at both branches, then decide with tallystick device continue or revoke; the device keeps what it records, as long as its journal has room",
  ),
  KID_MALFORMED: entry(
    400,
    "the text names no device",
    "name it by its kid or its did:key, as tallystick device list and show print them",
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
});
