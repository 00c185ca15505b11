import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { createDatabase } from "../../hosts/relay/store/database.js";
import { StoredRows } from "../../hosts/relay/store/rows.js";
import { GENERATION_BITS } from "../../hosts/relay/store/schema.js";
import { Store } from "../../hosts/relay/store/store.js";
import { must, temporaryFolder } from "./started.js";

const GENERATION = 2 ** GENERATION_BITS;

/** An id as no hash gives it, for a row of which nobody reads the bytes. */
function idOf(n: number): Uint8Array {
  return new Uint8Array(createHash("sha256").update(String(n)).digest());
}

function row(n: number) {
  return { seq: n - 1, id: idOf(n), bytes: new Uint8Array(1), closesChain: false };
}

/** One chain of so many rows, of which the log has two generations. */
function largeStore(folderPath: string, records: number) {
  const path = join(folderPath, "large.sqlite");
  const store = new Store(must(createDatabase(path)));
  store.transaction(() => {
    store.addDevice(new Uint8Array(8), new Uint8Array(32), row(1), 1);
    for (let n = 2; n <= records; n++) store.append(1, [row(n)], 1);
    store.setLogged(2 * GENERATION + 10);
  });
  return { store, path, database: store.database };
}

describe("relay: records by their ids", () => {
  let folder: { readonly path: string; remove(): void };
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => folder.remove());

  it("finds records of every generation by their ids, and none by another", () => {
    const { database, ...store } = largeStore(folder.path, 3 * GENERATION + 100);
    const generations = database.prepare("SELECT generation, count(*) AS n FROM ids GROUP BY generation").all();
    // Entry 0 is none of the records'.
    assert.deepEqual(generations, [
      { generation: 0, n: GENERATION - 1 },
      { generation: 1, n: GENERATION },
    ]);
    for (const opened of [store.store, must(Store.open(store.path))]) {
      for (const n of [1, 2, GENERATION - 1, GENERATION, 2 * GENERATION - 1, 2 * GENERATION, 3 * GENERATION + 100]) {
        const id = idOf(n);
        assert.equal(opened.recordById(id)?.seq, n - 1, `entry ${n}`);
        // The same place in the index, and no record.
        id[31]! ^= 1;
        assert.equal(opened.recordById(id), undefined);
      }
      // Also after a transaction that would have written a generation, and was undone.
      assert.throws(() =>
        opened.transaction(() => {
          opened.setLogged(3 * GENERATION + 50);
          throw new Error("the disk is full");
        }),
      );
      assert.equal(opened.recordById(idOf(2 * GENERATION + 5))?.seq, 2 * GENERATION + 4);
      // What comes and what is logged meanwhile is found, too.
      const next = opened.head(1).seq + 1;
      opened.transaction(() => opened.append(1, [row(next + 1)], 1));
      assert.equal(opened.recordById(idOf(next + 1))?.seq, next);
      opened.transaction(() => opened.setLogged(3 * GENERATION + 50));
      assert.equal(opened.recordById(idOf(2 * GENERATION + 5))?.seq, 2 * GENERATION + 4);
      assert.equal(opened.recordById(idOf(next + 1))?.seq, next);
      opened.close();
    }
  });

  it("holds what finds records by their ids against the records, and makes it again of them", () => {
    const { store } = largeStore(folder.path, 2 * GENERATION + 100);
    const rows = new StoredRows(store.database, relayCrypto);
    const ids = rows.parts.find(({ name }) => name === "ids")!;
    const wrong = () => Array.from({ length: ids.pages() }, (_, page) => ids.check(page).map(({ where }) => where));
    assert.deepEqual(wrong(), [[], []]);
    const damages = [
      `DELETE FROM ids WHERE seq = ${GENERATION + 4}`,
      `UPDATE ids SET seq = seq + 1 WHERE seq = ${GENERATION + 4} AND generation = 1`,
      `INSERT INTO ids VALUES (1, zeroblob(8), 1, 5)`,
      `UPDATE ids SET prefix = zeroblob(8) WHERE seq = ${GENERATION + 4}`,
    ];
    for (const damage of damages) {
      store.database.exec(damage);
      assert.deepEqual(wrong(), [[], ["store.sqlite ids generation 1"]], damage);
      assert.deepEqual(rows.repairIds(), ["store.sqlite ids generation 1"]);
      assert.deepEqual(wrong(), [[], []]);
      assert.equal(store.recordById(idOf(GENERATION + 5))?.seq, GENERATION + 4);
    }
    store.close();
  });
});
