import { entry } from "./entry.js";

/** Codes about the change of a relay's keys; part of the one table. */
export const RELAY_KEY_CODES = Object.freeze({
  RELAY_KEY_STALE: entry(
    409,
    "the statement about the relay's keys is an old one: the device is as far already",
    "nothing: the device keeps the keys that it has pinned; if it takes no acknowledgement either, the relay was restored from an old copy",
  ),
  RELAY_KEY_FALSE: entry(
    422,
    "the statement about the relay's keys does not hold",
    "the device keeps the keys that it has pinned; if the relay's key was lost or stolen: tallystick relay-key recover, and devices without a recovery key are given the new keys by a person",
  ),
  RELAY_KEY_EXHAUSTED: entry(
    409,
    "the relay's keys cannot be changed once more in this way",
    "after 1,023 rotations the recovery key begins a new range: tallystick relay-key recover",
  ),
  RECOVERY_KEY_FOREIGN: entry(
    409,
    "this is not the relay's recovery key",
    "use the file whose key the relay was initialised with: tallystick relay-key show prints it",
  ),
});
