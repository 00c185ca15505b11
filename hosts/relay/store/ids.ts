import { type Database, plainBytes } from "./database.js";
import { GENERATION_BITS } from "./schema.js";

/**
 * Finds records by their ids. Ids are spread evenly, so that an index over all of them would be written all over, page by
 * page, with each record. Here the newest are in memory; once a generation of them is logged, and so will never move, it is
 * written sorted, in one piece. A search goes through the generations one after the other: some microseconds each.
 *
 * Not trusted: what it names is looked at. Its rows follow from the records', against which the scrub holds them; what it
 * lacked nobody would find.
 */

/** Bytes of an id by which a generation is sorted. Two records may have them in common; then both are looked at. */
const PREFIX_BYTES = 8;
const GENERATION_RECORDS = 2 ** GENERATION_BITS;

/** Where a record stands in its chain. */
export interface Place {
  readonly device: number;
  readonly seq: number;
}

export class IdIndex {
  readonly #statements: ReturnType<typeof prepare>;
  /** PostgreSQL keeps an index over all ids: several processes write, and none has all of the newest in memory. */
  readonly #indexed: ReturnType<Database["prepare"]> | undefined;
  /** By id, the records that no generation has yet; read from the table when the first one is asked for. */
  #recent: Map<string, Place> | undefined;

  constructor(database: Database) {
    this.#statements = prepare(database);
    if (database.dialect === "postgres")
      this.#indexed = database.prepare("SELECT device, seq FROM records WHERE id = ?");
  }

  /** Where a record of this id may stand, if it is held at all. */
  *find(id: Uint8Array): IterableIterator<Place> {
    if (this.#indexed) return yield* this.#indexed.all(id) as Place[];
    this.#recent ??= this.#readRecent();
    const recent = this.#recent.get(nameOf(id));
    if (recent) yield recent;
    const prefix = id.subarray(0, PREFIX_BYTES);
    for (let generation = this.#newest(); generation >= 0; generation--)
      yield* this.#statements.like.all(generation, prefix) as Place[];
  }

  /** A record was added; also where the transaction is undone after all. */
  added(id: Uint8Array, place: Place): void {
    this.#recent?.set(nameOf(id), place);
  }

  /** Writes the generations that a log of `size` entries has whole. Call inside `Store.transaction`. */
  logged(size: number): void {
    if (this.#indexed) return;
    for (let next = this.#newest() + 1; (next + 1) * GENERATION_RECORDS <= size; next++) {
      this.#statements.write.run(next, ...boundsOf(next));
      // Read again when it is asked for: the transaction may be undone, and then they still are in no generation.
      this.#recent = undefined;
    }
  }

  /** How many generations there are; none in PostgreSQL. */
  get generations(): number {
    return this.#newest() + 1;
  }

  /** Whether a generation says of all its records where they stand, and nothing else. */
  holds(generation: number): boolean {
    const [first, end] = boundsOf(generation);
    const { lacking, added } = this.#statements;
    return lacking.get(first, end, generation) === undefined && added.get(generation, first, end) === undefined;
  }

  /** Writes a generation anew out of its records, or takes it out where not all of those are logged. Call inside `Store.transaction`. */
  rewrite(generation: number): void {
    this.#recent = undefined;
    this.#statements.remove.run(generation);
    const [first, end] = boundsOf(generation);
    if (end <= (this.#statements.size.get() as number)) this.#statements.write.run(generation, first, end);
  }

  #newest(): number {
    return this.#statements.newest.get() as number;
  }

  #readRecent(): Map<string, Place> {
    const from = (this.#newest() + 1) * GENERATION_RECORDS;
    const rows = this.#statements.generation.all(from, Number.MAX_SAFE_INTEGER) as Row[];
    return new Map(rows.map(({ id, device, seq }) => [nameOf(plainBytes(id)), { device, seq }]));
  }
}

interface Row extends Place {
  readonly id: Uint8Array;
}

/** Entries first <= entry < end. */
function boundsOf(generation: number): readonly [number, number] {
  return [generation * GENERATION_RECORDS, (generation + 1) * GENERATION_RECORDS];
}

function nameOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString("latin1");
}

function prepare(database: Database) {
  const places = `SELECT substr(id, 1, ${PREFIX_BYTES}), device, seq FROM records WHERE entry >= ? AND entry < ?`;
  const written = "SELECT prefix, device, seq FROM ids WHERE generation = ?";
  return {
    lacking: database.prepare(`${places} EXCEPT ${written} LIMIT 1`),
    added: database.prepare(`${written} EXCEPT ${places} LIMIT 1`),
    remove: database.prepare("DELETE FROM ids WHERE generation = ?"),
    size: database.prepare("SELECT size FROM logged").pluck(),
    newest: database.prepare("SELECT coalesce(max(generation), -1) FROM ids").pluck(),
    like: database.prepare("SELECT device, seq FROM ids WHERE generation = ? AND prefix = ?"),
    generation: database.prepare("SELECT id, device, seq FROM records WHERE entry >= ? AND entry < ? ORDER BY entry"),
    // Sorted, so that each page of it is written once.
    write: database.prepare(
      `INSERT INTO ids (generation, prefix, device, seq) SELECT ?, substr(id, 1, ${PREFIX_BYTES}), device, seq ` +
        "FROM records WHERE entry >= ? AND entry < ? ORDER BY 2, 3, 4",
    ),
  };
}
