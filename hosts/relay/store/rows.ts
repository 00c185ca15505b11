import { equalBytes, toHex } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { kidOf } from "tallystick/identity/key";
import { recordId } from "tallystick/record/record";
import type { Finding } from "../log/tree-check.js";
import { type Database, plainBytes } from "./database.js";
import { IdIndex } from "./ids.js";
import { nameOfStore } from "./sql.js";

/**
 * The database's rows as somebody sees them who trusts none of them: each record's bytes against its id, each device's
 * names against its key, what is told to be logged against the log. Only here is it known in which tables records stand.
 */

/** Rows that are looked at together. */
export const ROWS_AT_ONCE = 256;

/** A table of records: what they are called in a finding, and how their rows are counted and paged by one number. */
interface RecordTable {
  readonly name: string;
  /** One above the highest number of a row. */
  readonly end: string;
  /** Number, position, id and bytes of the rows with first <= number < end. */
  readonly page: string;
}

const TABLES: readonly RecordTable[] = [
  {
    name: "records",
    end: "SELECT coalesce(max(entry), 0) + 1 FROM records",
    page: "SELECT device, seq, id, bytes FROM records WHERE entry >= ? AND entry < ?",
  },
  {
    name: "forks",
    end: "SELECT coalesce(max(rowid), 0) + 1 FROM forks",
    page: "SELECT device, seq, id, bytes FROM forks WHERE rowid >= ? AND rowid < ?",
  },
  {
    name: "gaps",
    end: "SELECT coalesce(max(rowid), 0) + 1 FROM gaps",
    page: "SELECT device, seq, id, bytes FROM gaps WHERE rowid >= ? AND rowid < ?",
  },
  {
    // It has no number of its own: a page is a device, of which few have late records.
    name: "late",
    end: `SELECT (coalesce(max(device), 0) + 1) * ${ROWS_AT_ONCE} FROM late`,
    page: `SELECT device, seq, id, bytes FROM late WHERE device >= CAST(? AS BIGINT) / ${ROWS_AT_ONCE} AND device < CAST(? AS BIGINT) / ${ROWS_AT_ONCE}`,
  },
];

interface Row {
  device: number;
  seq: number;
  id: Uint8Array;
  bytes: Uint8Array;
}

interface DeviceRow {
  device: number;
  kid: Uint8Array;
  key: Uint8Array;
  genesis: Uint8Array;
}

export class StoredRows {
  readonly #database: Database;
  readonly #crypto: Pick<Crypto, "sha256">;
  readonly #tables: readonly { readonly name: string; end(): number; page(from: number, to: number): Row[] }[];
  readonly #logged: (from: number, to: number) => { entry: number; id: Uint8Array }[];
  readonly #entries: (from: number, to: number) => { entry: number; bytes: Uint8Array }[];
  readonly #devices: (from: number, to: number) => DeviceRow[];
  readonly #deviceEnd: () => number;
  readonly #isErased: (id: Uint8Array) => boolean;
  readonly #ids: IdIndex;

  constructor(database: Database, crypto: Pick<Crypto, "sha256">) {
    this.#ids = new IdIndex(database);
    this.#database = database;
    this.#crypto = crypto;
    this.#tables = TABLES.map(({ name, end, page }) => {
      const [count, rows] = [database.prepare(end).pluck(), database.prepare(page)];
      return { name, end: () => count.get() as number, page: (from, to) => rows.all(from, to) as Row[] };
    });
    const logged = database.prepare(
      "SELECT entry, id FROM records WHERE entry >= ? AND entry < ? AND entry < (SELECT size FROM logged)",
    );
    this.#logged = (from, to) => logged.all(from, to) as { entry: number; id: Uint8Array }[];
    const entries = database.prepare(
      "SELECT entry, bytes FROM records WHERE entry >= ? AND entry < ? AND entry < (SELECT size FROM logged) " +
        "AND length(bytes) > 0",
    );
    this.#entries = (from, to) => entries.all(from, to) as { entry: number; bytes: Uint8Array }[];
    const devices = database.prepare(
      "SELECT device, kid, public_key AS key, genesis_id AS genesis FROM devices WHERE device >= ? AND device < ?",
    );
    this.#devices = (from, to) => devices.all(from, to) as DeviceRow[];
    const erased = database.prepare("SELECT 1 FROM erased WHERE id = ?");
    this.#isErased = (id) => erased.get(id) !== undefined;
    const deviceEnd = database.prepare("SELECT coalesce(max(device), 0) + 1 FROM devices").pluck();
    this.#deviceEnd = () => deviceEnd.get() as number;
  }

  /** Pages that `check` takes, for each table; of ids, which are made of records, generations. */
  get parts(): readonly RowsPart[] {
    const pages = (end: number) => Math.ceil(end / ROWS_AT_ONCE);
    return [
      ...this.#tables.map((table) => ({
        name: table.name,
        pages: () => pages(table.end()),
        check: (page: number) =>
          table
            .page(page * ROWS_AT_ONCE, (page + 1) * ROWS_AT_ONCE)
            .flatMap((row) => this.#checkRecord(table.name, row)),
      })),
      {
        name: "devices",
        pages: () => pages(this.#deviceEnd()),
        check: (page: number) =>
          this.#devices(page * ROWS_AT_ONCE, (page + 1) * ROWS_AT_ONCE).flatMap((row) => this.#checkDevice(row)),
      },
      {
        name: "ids",
        pages: () => this.#ids.generations,
        check: (generation: number) => (this.#ids.holds(generation) ? [] : [idsFinding(generation)]),
      },
    ];
  }

  #checkRecord(table: string, { device, seq, id, bytes }: Row): Finding[] {
    if (bytes.length === 0 && this.#isErased(id)) return [];
    const received = recordId(this.#crypto.sha256, plainBytes(bytes));
    if (equalBytes(received, id)) return [];
    return [
      {
        code: "STORE_CORRUPT",
        where: `${nameOfStore(this.#database)} ${table} device ${device} seq ${seq}`,
        detail: `the stored bytes are those of ${toHex(received)}, expected record ${toHex(id)}`,
      },
    ];
  }

  #checkDevice({ device, kid, key, genesis }: DeviceRow): Finding[] {
    const where = `${nameOfStore(this.#database)} devices device ${device}`;
    const expected = kidOf(this.#crypto.sha256, plainBytes(key));
    if (!equalBytes(expected, kid))
      return [
        { code: "STORE_CORRUPT", where, detail: `expected kid ${toHex(expected)} of its key, received ${toHex(kid)}` },
      ];
    const first = this.#database.prepare("SELECT id FROM records WHERE device = ? AND seq = 0").pluck().get(device);
    if (first instanceof Uint8Array && equalBytes(first, genesis)) return [];
    const found = first instanceof Uint8Array ? toHex(first) : "none";
    return [{ code: "STORE_CORRUPT", where, detail: `expected genesis ${toHex(genesis)} at seq 0, received ${found}` }];
  }

  /**
   * What the database tells of entries `from` and after it against their `ids` in the log. Entry 0 is the log's own, and
   * an older copy of the database may know of fewer: `told` is one above the highest index that it was told of.
   */
  checkLogged(from: number, ids: readonly Uint8Array[], told: number): Finding[] {
    const found = new Map(this.#logged(from, from + ids.length).map((row) => [row.entry, row.id]));
    const findings: Finding[] = [];
    for (const [at, id] of ids.entries()) {
      const index = from + at;
      if (index === 0 || index >= told) continue;
      const held = found.get(index);
      if (held && equalBytes(held, id)) continue;
      const detail = `expected ${toHex(id)} as entry ${index} of the log, received ${held ? toHex(held) : "none"}`;
      const where = `${nameOfStore(this.#database)} records entry ${index}`;
      findings.push({ code: "STORE_INCOHERENT", where, detail });
    }
    return findings;
  }

  /** Bytes that the database holds of the entries from `from` on, by index: for a log that has lost them. */
  entries(from: number, count: number): ReadonlyMap<number, Uint8Array> {
    return new Map(this.#entries(from, from + count).map(({ entry, bytes }) => [entry, plainBytes(bytes)] as const));
  }

  /** One above the highest index that the database was told of. */
  told(): number {
    return this.#database.prepare("SELECT size FROM logged").pluck().get() as number;
  }

  /** Indices of the log whose records here are damaged, but for erased ones: their right bytes are in the log. One page after the other. */
  *damagedLogged(): IterableIterator<{ readonly index: number; readonly id: Uint8Array }> {
    const page = this.#database.prepare(
      "SELECT entry, id, bytes FROM records WHERE entry >= ? AND entry < ? AND entry < (SELECT size FROM logged) ORDER BY entry",
    );
    for (let from = 0, end = this.told(); from < end; from += ROWS_AT_ONCE)
      for (const row of page.all(from, from + ROWS_AT_ONCE) as { entry: number; id: Uint8Array; bytes: Buffer }[])
        if (!this.#isErased(row.id) && !equalBytes(recordId(this.#crypto.sha256, plainBytes(row.bytes)), row.id))
          yield { index: row.entry, id: plainBytes(row.id) };
  }

  /** Writes ids anew where they are not what their records say; which generations it were. */
  repairIds(): string[] {
    const wrong = Array.from({ length: this.#ids.generations }, (_, generation) => generation).filter(
      (generation) => !this.#ids.holds(generation),
    );
    if (wrong.length === 0) return [];
    this.#database
      .transaction(() => {
        for (const generation of wrong) this.#ids.rewrite(generation);
      })
      .immediate();
    return wrong.map((generation) => idsFinding(generation).where);
  }

  /** Puts the right bytes of the record at `index` back. Throws where they are not those that `id` names. */
  putBack(index: number, id: Uint8Array, bytes: Uint8Array): void {
    if (!equalBytes(recordId(this.#crypto.sha256, bytes), id))
      throw new RangeError(`bytes: expected those of record ${toHex(id)}`);
    this.#database.prepare("UPDATE records SET bytes = ? WHERE entry = ? AND id = ?").run(bytes, index, id);
  }
}

function idsFinding(generation: number): Finding {
  const where = `store.sqlite ids generation ${generation}`;
  return { code: "STORE_INCOHERENT", where, detail: "expected where its records stand, received something else" };
}

/** One table, page by page. */
export interface RowsPart {
  readonly name: string;
  pages(): number;
  check(page: number): Finding[];
}
