import { entry } from "./entry.js";

/** Codes of the relay as a process and a server; part of the one table. */
export const RELAY_CODES = Object.freeze({
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
    "nothing was changed: stop the relay, copy the data folder and check the disk; then run tallystick fsck --repair, and where that does not suffice move store.sqlite aside with its -wal and run tallystick restore with a backup",
  ),
  STORE_FAILED: entry(
    503,
    "the relay could not make the data durable",
    "nothing was acknowledged; look for a full disk, missing permissions or a server that is away in the relay's log",
  ),
  STORE_NOT_DURABLE: entry(
    500,
    "the database server may lose what it has acknowledged",
    "set fsync, full_page_writes and synchronous_commit to on at the PostgreSQL server, and start again",
  ),
  STORE_HELD: entry(
    500,
    "another process is the sequencer of this database",
    "stop it first, start this one with role ingest, or give it a database of its own",
  ),
  STORE_ELSEWHERE: entry(
    409,
    "the relay's database is not where this looks for it",
    "name it with --store or TALLYSTICK_STORE_URL where it is in PostgreSQL, and not where it is SQLite's file in the data folder",
  ),
  STORE_IN_POSTGRES: entry(
    409,
    "this is done with SQLite's file alone, and the relay's database is in PostgreSQL",
    "use PostgreSQL's own tools, pg_dump for a backup, in the order that hosts/relay/store/postgres/README.md gives; what was logged a database that was put back takes from the relay's log at the next start",
  ),
  STORE_UNREACHABLE: entry(
    503,
    "PostgreSQL's server cannot be reached, or does not let the relay in",
    "check that the server runs, and host, port, database's name, user and password of --store or TALLYSTICK_STORE_URL",
  ),
  SEQUENCER_AWAY: entry(
    503,
    "what was received has waited too long for the log",
    "come again; for the operator: start the relay's sequencer, the process with role all",
  ),
  SEQUENCER_ONLY: entry(
    421,
    "this process of the relay takes records in and signs nothing for the log",
    "ask the relay's sequencer, the process with role all",
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
  DATA_FOLDER_FOREIGN: entry(
    409,
    "the folder is not a relay's, and not blank",
    "name the relay's data folder; a new relay takes a blank one of its own",
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
  DATA_FOLDER_UNREADABLE: entry(
    500,
    "the data folder cannot be read",
    "run this as the relay's user, to whom alone the folder belongs, or name another folder",
  ),
  DATA_FOLDER_UNWRITABLE: entry(
    500,
    "the data folder cannot be written",
    "give the relay's user write permission on it and run this as that user, or name another folder with --data",
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
  PORT_TAKEN: entry(
    500,
    "another program listens on the port",
    "stop it, or choose another port where this one was: by the option or setting that is named",
  ),
  ADDRESS_UNUSABLE: entry(
    500,
    "nothing can listen on the address",
    "choose another address and port where these were: by the option or setting that is named",
  ),
  MQTT_UNUSABLE: entry(
    500,
    "the relay cannot use the broker as it is named",
    "correct the options of --mqtt; hosts/relay/README.md has them",
  ),
  BROKER_AWAY: entry(
    503,
    "the MQTT broker cannot be reached, or takes no connection",
    "check its address, name and password, and its own log; the relay tries again, and is there over HTTP meanwhile",
  ),
  REQUEST_MALFORMED: entry(
    400,
    "the request is not one of the relay's routes",
    "compare it with hosts/relay/README.md",
  ),
  REQUEST_BODY_INVALID: entry(
    400,
    "the request's body is not what its route takes",
    "compare it with the route's body in GET /openapi.json; nothing was changed",
  ),
  ROUTE_UNKNOWN: entry(404, "there is nothing at this address", "the routes are in hosts/relay/README.md"),
  METHOD_UNKNOWN: entry(405, "the address does not take this method", "use one of those in the Allow header"),
  MEDIA_TYPE_UNKNOWN: entry(
    415,
    "the body's type or encoding is not accepted",
    "send application/cbor or application/cbor-seq, to the operator API application/json, without content encoding",
  ),
  REQUEST_SLOW: entry(408, "the request did not arrive in time", "send it again"),
  RECORD_UNKNOWN: entry(404, "no record with this id is held here", "check the id: 64 hexadecimal digits"),
  RECORD_NOT_LOGGED: entry(
    404,
    "the record is not in a checkpoint yet",
    "ask again in some seconds; the acknowledgement's log_by says by when at the latest",
  ),
  INTAKE_FULL: entry(
    429,
    "as many records wait to be verified as may",
    "send them again after the Retry-After time; nothing of them was looked at",
  ),
  KEY_BUDGET_SPENT: entry(
    429,
    "the key has brought as many records as it may for now",
    "send on after the Retry-After time; if the device is to record that often, raise the relay's limit",
  ),
  RELAY_BUSY: entry(503, "the relay has as much to do as it takes at once", "try again after the Retry-After time"),
  RELAY_STOPPING: entry(503, "the relay is stopping", "try again after the Retry-After time"),
  RELAY_FAULT: entry(
    500,
    "the relay failed at something that it should not",
    "its log has the cause; nothing was acknowledged",
  ),
});
