import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { ok, type Result } from "tallystick/codes/codes";
import { BeaconStore } from "./beacons.js";
import { type Database, openDatabase, plainBytes } from "./database.js";
import { ErasureStore } from "./erasures.js";
import { GapStore } from "./gaps.js";
import { IdIndex } from "./ids.js";
import { prepareAppend } from "./postgres/append.js";
import { DEFAULT_TENANT } from "./schema.js";
import { Standing } from "./standing.js";
import { Successions } from "./successions.js";

/**
 * What the relay holds of its devices: keys, chains, forks. One writer process; every write below is one transaction
 * that is on the disk when the call returns, so that whatever is acknowledged afterwards survives a kill or a power cut.
 */

export type DeviceState = "active" | "forked" | "closed";

export interface StoredDevice {
  /** The store's own short name of the device; never leaves the relay. */
  readonly device: number;
  readonly kid: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly genesisId: Uint8Array;
  readonly enrolledAtMs: number;
  /** `closed`: a rotation or a succession ended the chain. `forked`: two records of one position are held; that outlives the rest. */
  readonly state: DeviceState;
  /** Whose it is: only its operators, and those of the whole relay, may decide about it. */
  readonly tenant: string;
}

export interface StoredRecord {
  readonly device: number;
  readonly seq: number;
  readonly id: Uint8Array;
  /** Exactly as they came; empty where they were erased. */
  readonly bytes: Uint8Array;
  readonly receivedAtMs: number;
  /** Undefined until the sequencer has given the record its place in the log. */
  readonly logIndex: number | undefined;
}

/** A checked record on its way in. */
export interface NewRecord {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
  readonly closesChain: boolean;
}

/** Answers to `lastInLog` that are remembered: a few for each device that is talking. */
const LAST_IN_LOG_MAX = 8192;

/** Records that are read together: of readings, what one answer takes. */
const RECORDS_AT_ONCE = 512;

/** A device whose key is shown to have signed two histories is shown as such by one pair; more are kept up to here. */
export const FORKS_MAX_PER_DEVICE = 64;

export class Store {
  readonly database: Database;
  /** Chains that a succession has closed, and their late records. */
  readonly successions: Successions;
  /** What chains lack, and the gap records that say so. */
  readonly gaps: GapStore;
  /** Before when no record of a chain can have been signed. */
  readonly beacons: BeaconStore;
  /** Keys that are held back or revoked. */
  readonly standing: Standing;
  /** What was erased on request. */
  readonly erasures: ErasureStore;
  readonly #ids: IdIndex;
  /** What stands in a published checkpoint never changes. */
  readonly #lastInLog = new Map<string, StoredRecord | undefined>();
  #session: number | undefined;
  readonly #statements: ReturnType<typeof prepare>;
  /** PostgreSQL's, which has to be sent each statement. */
  readonly #appendTogether: ReturnType<typeof prepareAppend> | undefined;

  constructor(database: Database) {
    this.database = database;
    this.#appendTogether = database.dialect && prepareAppend(database);
    this.successions = new Successions(database);
    this.gaps = new GapStore(database);
    this.beacons = new BeaconStore(database);
    this.standing = new Standing(database);
    this.erasures = new ErasureStore(database);
    this.#ids = new IdIndex(database);
    this.#statements = prepare(database);
  }

  /** STORE_MISSING, STORE_NEWER, STORE_CORRUPT, STORE_FAILED. */
  static open(path: string): Result<Store> {
    const database = openDatabase(path);
    return database.ok ? ok(new Store(database.value)) : database;
  }

  close(): void {
    this.database.close();
  }

  /** Runs `write` as one durable transaction; what it throws undoes it. */
  transaction<T>(write: () => T): T {
    return this.database.transaction(write).immediate();
  }

  /**
   * Runs `act`, which reads and then writes by what it has read, with no other process's write in between. In SQLite this
   * process is the only one that takes records in, and `act` never waits.
   */
  alone<T>(act: () => T): T {
    return this.database.dialect === "postgres" ? this.transaction(act) : act();
  }

  /** Writes durably; throws where that does not work now. */
  beat(nowMs: number): void {
    this.#statements.beat.run(nowMs);
  }

  deviceByKid(kid: Uint8Array): StoredDevice | undefined {
    const row = this.#statements.deviceByKid.get(kid) as DeviceRow | undefined;
    return row && deviceOf(row);
  }

  deviceByNumber(device: number): StoredDevice {
    return deviceOf(this.#statements.deviceByNumber.get(device) as DeviceRow);
  }

  /** At most `limit` devices in the order of their kids, from the one after `after` on; where `tenant` is given, of its own. */
  devicesAfter(after: Uint8Array, limit: number, tenant?: string): StoredDevice[] {
    const { devicesAfter, devicesOfTenantAfter } = this.#statements;
    const rows = tenant === undefined ? devicesAfter.all(after, limit) : devicesOfTenantAfter.all(tenant, after, limit);
    return (rows as DeviceRow[]).map(deviceOf);
  }

  countDevices(): number {
    return this.#statements.countDevices.get() as number;
  }

  /** Adds a device with its genesis record, which stands at `entry` of the log already or will. Call inside `transaction`. */
  addDevice(
    kid: Uint8Array,
    publicKey: Uint8Array,
    genesis: NewRecord,
    nowMs: number,
    entry?: number,
    tenant: string = DEFAULT_TENANT,
  ): StoredDevice {
    const device = this.#statements.addDevice.get(kid, publicKey, genesis.id, nowMs, tenant) as number;
    this.#add(device, genesis, entry, nowMs);
    return this.deviceByNumber(device);
  }

  /** Gives a device to a tenant that is there. Call inside `transaction`. */
  assign(device: number, tenant: string): void {
    this.#statements.assign.run(tenant, device);
  }

  /** Adds records that follow the chain's head, checked by the caller. Call inside `transaction`. */
  append(device: number, records: readonly NewRecord[], nowMs: number): void {
    if (this.#appendTogether) {
      this.#appendTogether(device, records, nowMs);
      if (records.some(({ closesChain }) => closesChain)) this.#statements.close.run(device);
    } else for (const record of records) this.#add(device, record, undefined, nowMs);
  }

  /** Adds a record that stands at `entry` of the log. Call inside `transaction`. */
  takeBack(device: number, record: NewRecord, entry: number, nowMs: number): void {
    this.#add(device, record, entry, nowMs);
  }

  #add(device: number, { seq, id, bytes, closesChain }: NewRecord, place: number | undefined, nowMs: number): void {
    this.#statements.addRecord.run(place ?? null, device, seq, id, bytes, nowMs);
    this.#ids.added(id, { device, seq });
    if (closesChain) this.#statements.close.run(device);
  }

  /**
   * Keeps a fork's other branch aside, outside of the chain, and holds the key back; what is kept already stays, and what
   * an operator has decided about it. Call inside `transaction`.
   */
  keepFork(device: number, record: NewRecord, nowMs: number): void {
    this.#statements.markForked.run(device);
    if (this.#statements.hasFork.get(record.id) !== undefined) return;
    this.standing.hold(device, nowMs);
    if ((this.#statements.countForks.get(device) as number) < FORKS_MAX_PER_DEVICE)
      this.#statements.addFork.run(record.id, device, record.seq, record.bytes, nowMs);
  }

  /** The second branches held of a device, by position. */
  forks(device: number): { readonly seq: number; readonly id: Uint8Array; readonly bytes: Uint8Array }[] {
    const rows = this.#statements.forks.all(device) as { seq: number; id: Uint8Array; bytes: Buffer }[];
    return rows.map(({ seq, id, bytes }) => ({ seq, id: plainBytes(id), bytes: plainBytes(bytes) }));
  }

  /** The newest record of a chain. There is one: a device is added with its genesis. */
  head(device: number): StoredRecord {
    return recordOf(this.#statements.head.get(device) as RecordRow);
  }

  recordAt(device: number, seq: number): StoredRecord | undefined {
    const row = this.#statements.recordAt.get(device, seq) as RecordRow | undefined;
    return row && recordOf(row);
  }

  recordById(id: Uint8Array): StoredRecord | undefined {
    for (const { device, seq } of this.#ids.find(id)) {
      const found = this.recordAt(device, seq);
      if (found && equalBytes(found.id, id)) return found;
    }
    return undefined;
  }

  /** Records `from` ≤ seq ≤ `to` in order, one at a time. */
  *recordsBetween(device: number, from: number, to: number): IterableIterator<StoredRecord> {
    for (let next = from; ; ) {
      const rows = this.#statements.recordsBetween.all(device, next, to, RECORDS_AT_ONCE) as RecordRow[];
      for (const row of rows) yield recordOf(row);
      if (rows.length < RECORDS_AT_ONCE) return;
      next = rows.at(-1)!.seq + 1;
    }
  }

  /** The highest record of a chain that stands in a log of `size` entries, as far as a checkpoint has them. */
  lastInLog(device: number, size: number): StoredRecord | undefined {
    // A server that was away may have come back with an older copy, whose numbers of devices are others.
    if (this.#session !== this.database.session) this.#lastInLog.clear();
    this.#session = this.database.session;
    const logged = Math.min(size, this.loggedSize);
    const name = `${device}/${logged}`;
    if (this.#lastInLog.has(name)) return this.#lastInLog.get(name);
    const row = this.#statements.lastInLog.get(device, logged) as RecordRow | undefined;
    const found = row && recordOf(row);
    if (this.#lastInLog.size >= LAST_IN_LOG_MAX) this.#lastInLog.clear();
    this.#lastInLog.set(name, found);
    return found;
  }

  /** A checkpoint with these entries is published. Call inside `transaction`. */
  setLogged(size: number): void {
    this.#statements.setLogged.run(size);
    this.#ids.logged(size);
  }

  /** Entries below stand in a published checkpoint. */
  get loggedSize(): number {
    return this.#statements.loggedSize.get() as number;
  }

  countRecords(): number {
    return this.#statements.countRecords.get() as number;
  }
}

interface DeviceRow {
  device: number;
  kid: Uint8Array;
  public_key: Uint8Array;
  genesis_id: Uint8Array;
  enrolled_at_ms: number;
  state: DeviceState;
  tenant: string;
}

interface RecordRow {
  device: number;
  seq: number;
  id: Uint8Array;
  bytes: Uint8Array;
  received_at_ms: number;
  log_index: number | null;
}

function deviceOf(row: DeviceRow): StoredDevice {
  return {
    device: row.device,
    kid: plainBytes(row.kid),
    publicKey: plainBytes(row.public_key),
    genesisId: plainBytes(row.genesis_id),
    enrolledAtMs: row.enrolled_at_ms,
    state: row.state,
    tenant: row.tenant,
  };
}

function recordOf(row: RecordRow): StoredRecord {
  return {
    device: row.device,
    seq: row.seq,
    id: plainBytes(row.id),
    bytes: plainBytes(row.bytes),
    receivedAtMs: row.received_at_ms,
    logIndex: row.log_index ?? undefined,
  };
}

function prepare(database: Database) {
  const columns =
    "device, seq, id, bytes, received_at_ms, " +
    "CASE WHEN entry < (SELECT size FROM logged) THEN entry END AS log_index";
  return {
    beat: database.prepare(
      "INSERT INTO heartbeat (one, at_ms) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms",
    ),
    deviceByKid: database.prepare("SELECT * FROM devices WHERE kid = ?"),
    deviceByNumber: database.prepare("SELECT * FROM devices WHERE device = ?"),
    devicesAfter: database.prepare("SELECT * FROM devices WHERE kid > ? ORDER BY kid LIMIT ?"),
    devicesOfTenantAfter: database.prepare("SELECT * FROM devices WHERE tenant = ? AND kid > ? ORDER BY kid LIMIT ?"),
    assign: database.prepare("UPDATE devices SET tenant = ? WHERE device = ?"),
    countDevices: database.prepare("SELECT count(*) FROM devices").pluck(),
    addDevice: database
      .prepare(
        "INSERT INTO devices (kid, public_key, genesis_id, enrolled_at_ms, state, tenant) " +
          "VALUES (?, ?, ?, ?, 'active', ?) RETURNING device",
      )
      .pluck(),
    close: database.prepare("UPDATE devices SET state = 'closed' WHERE device = ? AND state = 'active'"),
    markForked: database.prepare("UPDATE devices SET state = 'forked' WHERE device = ?"),
    // Without an entry: the next one, which SQLite gives by itself.
    addRecord: database.prepare(
      database.dialect === "postgres"
        ? "INSERT INTO records (entry, device, seq, id, bytes, received_at_ms) " +
            "VALUES (coalesce(?, (SELECT coalesce(max(entry), 0) + 1 FROM records)), ?, ?, ?, ?, ?)"
        : "INSERT INTO records (entry, device, seq, id, bytes, received_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    setLogged: database.prepare("UPDATE logged SET size = ?"),
    countForks: database.prepare("SELECT count(*) FROM forks WHERE device = ?").pluck(),
    hasFork: database.prepare("SELECT 1 FROM forks WHERE id = ?").pluck(),
    addFork: database.prepare(
      "INSERT INTO forks (id, device, seq, bytes, received_at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    ),
    forks: database.prepare("SELECT seq, id, bytes FROM forks WHERE device = ? ORDER BY seq, id"),
    head: database.prepare(`SELECT ${columns} FROM records WHERE device = ? ORDER BY seq DESC LIMIT 1`),
    recordAt: database.prepare(`SELECT ${columns} FROM records WHERE device = ? AND seq = ?`),
    recordsBetween: database.prepare(
      `SELECT ${columns} FROM records WHERE device = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`,
    ),
    // Of the index alone until it is found: it has each row's entry.
    lastInLog: database.prepare(
      `SELECT ${columns} FROM records INDEXED BY records_by_position WHERE device = ? AND +entry < ? ` +
        "ORDER BY seq DESC LIMIT 1",
    ),
    loggedSize: database.prepare("SELECT size FROM logged").pluck(),
    countRecords: database.prepare("SELECT count(*) FROM records").pluck(),
  };
}

/** The database gave bytes that are not the record that their id names: nothing may be built on them. */
export class StoredRecordDamaged extends Error {
  override readonly name = "StoredRecordDamaged";

  constructor({ id, seq }: Pick<StoredRecord, "id" | "seq">) {
    super(`the stored bytes at seq ${seq} are not those of record ${toHex(id)}`);
  }
}
