import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { type BackupOptions, backUp } from "../../hosts/relay/backup.js";
import { BACKUP_FILES, completeBackups, MANIFEST_FILE, SUMS_FILE } from "../../hosts/relay/backup-folder.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { nodeDisk } from "../../hosts/relay/log/disk.js";
import type { SignedHead } from "../../hosts/relay/log/sequencer.js";
import { Relay } from "../../hosts/relay/relay.js";
import { restore } from "../../hosts/relay/restore.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { filesWith } from "./files-with.js";
import { setBackTo } from "./older-store.js";
import { failureOf, must, StartedRelay, temporaryFolder } from "./started.js";

/** Backups of one relay's life, each between two checkpoints: with records that are received and not logged yet. */
const STATES = 20;
const RECORDS_A_STATE = 15;

describe("relay: restored", function () {
  this.timeout(120_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let work: ReturnType<typeof temporaryFolder>;
  /** Every checkpoint that was ever published. */
  const given: SignedHead[] = [];
  let relayKey: Uint8Array;
  const backups = () => join(work.path, "backups");
  /** Whole copies of the folder, one a state; the last is how it ended. */
  const copyOf = (state: number) => join(work.path, `copy-${state}`);
  const at = (...path: string[]) => join(work.path, "relay", ...path);
  let end: SignedHead;

  before(async () => {
    work = temporaryFolder();
    started = await StartedRelay.start({ batchIntervalMs: 3_600_000 });
    relayKey = started.key;
    device = await started.device();
    for (let state = 0; state < STATES; state++) {
      const first = device.chain.length;
      device.appendReadings(RECORDS_A_STATE);
      device.read(await device.send(started.url, first, first + 9), relayKey);
      await started.settled();
      given.push(started.relay.log.head);
      device.read(await device.send(started.url, first + 10), relayKey);
      const made = must(await backUp(started.folder, backups()));
      assert.equal(made.manifest.log_size, started.relay.log.head.size);
      assert.equal(made.manifest.records, device.chain.length);
      cpSync(started.folder, copyOf(state), { recursive: true });
    }
    await started.settled();
    await started.relay.close();
    end = started.relay.log.head;
    given.push(end);
  });
  after(async () => {
    work.remove();
    await started.close();
  });
  beforeEach(() => cpSync(started.folder, at(), { recursive: true }));
  afterEach(() => rmSync(at(), { recursive: true, force: true }));

  const backupName = (state: number) => `backup-${String(state + 1).padStart(6, "0")}`;
  const dropStore = () => {
    for (const end of ["", "-wal", "-shm"]) rmSync(`${pathsOf(at()).store}${end}`, { force: true });
  };

  /** What every file holds, to see that nothing was changed. */
  function contents(): string[] {
    const files = readdirSync(at(), { recursive: true, encoding: "utf8" }).sort();
    return files
      .filter((file) => statSync(at(file)).isFile() && !/relay\.lock|-wal|-shm/.test(file))
      .map((file) => `${file} ${Buffer.from(relayCrypto.sha256(readFileSync(at(file)))).toString("hex")}`);
  }

  /** The relay goes on: all that was logged is there, the device brings the rest, and all that was signed is of one history. */
  async function goesOn(erased?: number): Promise<void> {
    const relay = must(await Relay.open({ dataDir: at(), batchIntervalMs: 3_600_000 }));
    try {
      assert.equal(relay.log.head.size, end.size);
      const answer = device.read(await device.askHead(relay.url), relayKey);
      // A device holds in its flash what is not logged yet: it sends from there on, whatever the relay still has.
      const from = Math.min(answer.received!.seq, answer.logged!.seq) + 1;
      device.read(await device.send(relay.url, from), relayKey);
      must(await relay.log.sequence());
      const held = [...relay.store.recordsBetween(1, 0, device.chain.length)];
      assert.deepEqual(
        held.map(({ bytes }) => toHex(bytes)),
        device.chain.map((bytes, seq) => (seq === erased ? "" : toHex(bytes))),
        "no record lost, none changed",
      );
      for (const { size, root } of given)
        assert.equal(toHex(must(await relay.log.rootAt(size))), toHex(root), `the checkpoint of ${size}`);
    } finally {
      await relay.close();
    }
    assert.deepEqual(must(await examineFolder(at())).findings, []);
  }

  it(`the database from each of ${STATES} backups, beside the log as it is: recovers forward`, async () => {
    for (let state = 0; state < STATES; state++) {
      dropStore();
      const restored = must(await restore(backups(), at(), { name: backupName(state) }));
      assert.deepEqual(restored.written, ["store.sqlite"]);
      assert.deepEqual(restored.lacking, []);
      assert.equal(restored.behind, end.size - restored.backup.manifest.database_told);
      await goesOn();
      rmSync(at(), { recursive: true });
      cpSync(started.folder, at(), { recursive: true });
    }
  });

  it(`database and tiles from each of ${STATES} backups, where the key has signed more: refuses, and changes nothing`, async () => {
    for (let state = 0; state < STATES; state++) {
      dropStore();
      rmSync(pathsOf(at()).logPublic, { recursive: true, force: true });
      const before = contents();
      const failure = failureOf(await restore(backups(), at(), { name: backupName(state) }));
      assert.equal(failure.code, "BACKUP_BEHIND", failure.detail);
      assert.match(failure.detail, new RegExp(`signed ${end.size} entries, the backup has ${given[state]!.size}`));
      assert.deepEqual(contents(), before);
      assert.equal(failureOf(await Relay.open({ dataDir: at() })).code, "STORE_MISSING");
    }
    // With the newer tiles of a mirror it goes on.
    cpSync(join(started.folder, "log/public"), join(at(), "log/public"), { recursive: true });
    rmSync(at("log/public/tile/entries/000"));
    const restored = must(await restore(backups(), at()));
    assert.deepEqual(restored.written, ["log/public/tile/entries/000", "store.sqlite"]);
    await goesOn();
  });

  it(`the whole folder set back to each of ${STATES} copies: the lock kept elsewhere, and what others know, refuse`, async () => {
    for (let state = 0; state < STATES; state++) {
      rmSync(at(), { recursive: true });
      cpSync(copyOf(state), at(), { recursive: true });
      const known = [{ ...end, whence: "the ledger" }];
      assert.equal(failureOf(await Relay.open({ dataDir: at(), known })).code, "LOG_BEHIND");
      writeFileSync(at("log/lock/head"), end.checkpoint);
      const signed = readFileSync(at("log/key.signed"));
      assert.equal(failureOf(await Relay.open({ dataDir: at() })).code, "LOG_BEHIND");
      assert.deepEqual(readFileSync(at("log/key.signed")), signed, "nothing was signed");
      assert.equal(failureOf(await restore(backups(), at())).code, "LOG_LOCK_UNPROVED");
    }
  });

  it("single parts set back to each copy: never a second history, forward where the rest suffices", async () => {
    const parts: Record<string, { paths: readonly string[]; refuses?: string }> = {
      database: { paths: ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] },
      lock: { paths: ["log/lock/head"] },
      checkpoint: { paths: ["log/public/checkpoint"] },
      memory: { paths: ["log/key.signed"], refuses: "LOG_BEHIND" },
      "memory and lock": { paths: ["log/key.signed", "log/lock/head"], refuses: "LOG_BEHIND" },
      tiles: { paths: ["log/public/tile"], refuses: "LOG_TILE_MISSING" },
    };
    for (const [name, { paths, refuses }] of Object.entries(parts))
      for (let state = 0; state < STATES; state += 6) {
        for (const path of paths) {
          rmSync(at(path), { recursive: true, force: true });
          if (existsSync(join(copyOf(state), path))) cpSync(join(copyOf(state), path), at(path), { recursive: true });
        }
        if (refuses) assert.equal(failureOf(await Relay.open({ dataDir: at() })).code, refuses, `${name} of ${state}`);
        else await goesOn();
        rmSync(at(), { recursive: true });
        cpSync(started.folder, at(), { recursive: true });
      }
  });

  it("all is lost, the lock too: what is backed up comes back, and nothing is signed before somebody has named the newest tree", async () => {
    const state = STATES - 1;
    must(await backUp(copyOf(state), join(work.path, "with-keys"), { withKeys: true }));
    rmSync(at(), { recursive: true });
    const from = join(work.path, "with-keys");
    const restored = must(await restore(from, at()));
    assert.equal(restored.lacking.length, 1);
    assert.match(restored.lacking[0]!, /newest checkpoint/);
    assert.equal(failureOf(await Relay.open({ dataDir: at() })).code, "LOG_LOCK_MISSING");
    // An older one than is known to be signed, and another log's, are refused.
    const older = readFileSync(join(copyOf(2), "log/public/checkpoint"));
    assert.equal(failureOf(await restore(from, at(), { newest: older })).code, "LOG_LOCK_UNPROVED");
    assert.equal(failureOf(await restore(from, at(), { newest: Buffer.from("x") })).code, "LOG_LOCK_UNPROVED");
    // The newest is of more than was backed up: a mirror's tiles are needed.
    assert.equal(failureOf(await restore(from, at(), { newest: end.checkpoint })).code, "BACKUP_BEHIND");
    assert.equal(existsSync(at("log/lock/head")), false);
    cpSync(join(started.folder, "log/public"), at("log/public"), { recursive: true });
    const proved = must(await restore(from, at(), { newest: end.checkpoint }));
    assert.deepEqual(proved.lacking, []);
    assert.deepEqual(proved.written, ["log/key.signed", "log/lock/head"]);
    await goesOn();
  });

  it("the same where nothing was signed since: the backup's own checkpoint, named by a person", async () => {
    must(await backUp(started.folder, join(work.path, "last"), { withKeys: true }));
    rmSync(at(), { recursive: true });
    const newest = readFileSync(join(work.path, "last", "backup-000001", "checkpoint"));
    const restored = must(await restore(join(work.path, "last"), at(), { newest }));
    assert.deepEqual(restored.lacking, []);
    assert.deepEqual(
      ["relay.json", "device-facing.key", "log/key", "log/key.signed", "log/lock/head"].map((path) =>
        restored.written.includes(path),
      ),
      [true, true, true, true, true],
    );
    assert.equal(statSync(at("log/key")).mode & 0o777, 0o600);
    await goesOn();
  });

  for (const version of [1, 3, 4, 5])
    it(`a backup that a relay with a store of version ${version} has made`, async () => {
      const from = join(work.path, `older-${version}`);
      const { name } = must(await backUp(started.folder, from));
      const store = join(from, name, BACKUP_FILES.store);
      setBackTo(version, store).close();
      const hash = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
      const replace = (path: string, pattern: RegExp, by: string) =>
        writeFileSync(path, readFileSync(path, "utf8").replace(pattern, by));
      replace(
        join(from, name, SUMS_FILE),
        new RegExp(`^[0-9a-f]{64}(?=  ${name}/${BACKUP_FILES.store}$)`, "m"),
        hash(store),
      );
      const sums = hash(join(from, name, SUMS_FILE));
      replace(join(from, name, MANIFEST_FILE), /(?<="sums_sha256": ")[0-9a-f]{64}/, sums);
      const before = hash(store);
      const erased = { kid: device.identity.kid, from: 3, to: 3, reason: "asked", by: "operator" };
      assert.equal(must(await eraseInFolder(at(), erased, { decided: true })).done, true);
      rmSync(at("store.sqlite"));
      assert.deepEqual(must(await restore(from, at())).lacking, []);
      assert.equal(hash(store), before, "a backup is only read");
      assert.deepEqual(filesWith(at(), [device.chain[3]!]), []);
      await goesOn(3);
    });

  it("keys that are not in the backup are asked for, and never made", async () => {
    rmSync(at(), { recursive: true });
    const restored = must(await restore(backups(), at()));
    assert.deepEqual(restored.lacking.map((line) => relative(at(), line.split(":")[0]!)).slice(0, 2), [
      "device-facing.key",
      "log/key",
    ]);
    assert.equal(failureOf(await Relay.open({ dataDir: at() })).code, "RELAY_KEY_MISSING");
    assert.equal(existsSync(at("log/key")), false);
  });

  it("replaces no database, and no database's rest, and no other relay's data", async () => {
    writeFileSync(at("store.sqlite"), "damaged");
    assert.equal(failureOf(await restore(backups(), at())).code, "BACKUP_TARGET_TAKEN");
    renameSync(at("store.sqlite"), at("store.sqlite-wal"));
    assert.equal(failureOf(await restore(backups(), at())).code, "BACKUP_TARGET_TAKEN");
    rmSync(at("store.sqlite-wal"));
    must(await restore(backups(), at()));
    const other = await StartedRelay.start({}, { origin: "relay.example/other" });
    assert.equal(failureOf(await restore(backups(), other.folder)).code, "DATA_FOLDER_LOCKED");
    await other.relay.close();
    assert.equal(failureOf(await restore(backups(), other.folder)).code, "BACKUP_FOREIGN");
    assert.equal(failureOf(await backUp(other.folder, backups())).code, "BACKUP_FOREIGN");
    await other.close();
  });

  it("neither goes into the other's folder, by whatever name", async () => {
    const link = join(work.path, "link");
    symlinkSync(started.folder, link);
    for (const out of [started.folder, join(started.folder, "sub"), link, join(link, "sub", "deeper")])
      assert.equal(failureOf(await backUp(started.folder, out)).code, "BACKUP_UNWRITABLE", out);
    for (const target of [backups(), join(backups(), "backup-000001")])
      assert.equal(failureOf(await restore(backups(), target)).code, "BACKUP_TARGET_TAKEN", target);
  });

  it("a file that has rotted in the backups' folder is copied anew by the next", async () => {
    const out = join(work.path, "rotten");
    must(await backUp(started.folder, out));
    const [full] = readdirSync(join(out, "tile"), { recursive: true, encoding: "utf8" }).filter(
      (path) => !path.includes(".p") && statSync(join(out, "tile", path)).isFile(),
    );
    const path = join(out, "tile", full!);
    const bytes = readFileSync(path);
    bytes[100]! ^= 1;
    writeFileSync(path, bytes);
    must(await backUp(started.folder, out));
    bytes[100]! ^= 1;
    assert.deepEqual(readFileSync(path), bytes);
  });

  it("a backup of which any file was changed, cut or lost is not restored", async () => {
    const from = join(work.path, "changed");
    cpSync(backups(), from, { recursive: true });
    dropStore();
    const name = backupName(STATES - 1);
    const files = [
      `${name}/store.sqlite`,
      `${name}/checkpoint`,
      `${name}/relay.json`,
      `${name}/SHA256SUMS`,
      "tile/entries/000",
      "tile/0/000",
    ];
    for (const file of files) {
      const whole = readFileSync(join(from, file));
      for (const damage of ["flip", "cut", "gone"]) {
        const bytes = Buffer.from(whole);
        bytes[bytes.length >> 1]! ^= 1;
        if (damage === "gone") rmSync(join(from, file));
        else writeFileSync(join(from, file), damage === "flip" ? bytes : whole.subarray(0, -1));
        assert.equal(failureOf(await restore(from, at())).code, "BACKUP_DAMAGED", `${file} ${damage}`);
        assert.equal(existsSync(at("store.sqlite")), false);
      }
      writeFileSync(join(from, file), whole);
    }
    rmSync(join(from, name, "backup.json"));
    const restored = must(await restore(from, at()));
    assert.equal(
      restored.backup.name,
      backupName(STATES - 2),
      "without its manifest it is none: the one before is taken",
    );
    assert.equal(failureOf(await restore(join(work.path, "nothing"), at())).code, "BACKUP_MISSING");
  });

  it("all stay unless it is said how many, and the newest with keys does whatever is said", async () => {
    const out = join(work.path, "many");
    const names = () => readdirSync(out).filter((name) => name.startsWith("backup-0"));
    const make = async (options: BackupOptions = {}) => must(await backUp(started.folder, out, options));
    await make({ withKeys: true });
    await make({ withKeys: true });
    await make();
    assert.deepEqual(
      names(),
      [1, 2, 3].map((number) => `backup-00000${number}`),
    );
    const fourth = await make({ keep: 1 });
    assert.deepEqual([fourth.removed, fourth.keptForKeys], [["backup-000001", "backup-000003"], "backup-000002"]);
    assert.deepEqual(names(), ["backup-000002", "backup-000004"]);
    for (const name of names()) must(await restore(out, join(work.path, `many-${name}`), { name }));
    const fifth = await make({ keep: 1, withKeys: true });
    assert.deepEqual([fifth.removed, fifth.keptForKeys], [["backup-000002", "backup-000004"], undefined]);
  });

  it("no full tile is copied twice, and older backups go with what only they need", async () => {
    const out = join(work.path, "kept");
    const first = must(await backUp(copyOf(STATES - 2), out));
    const tile = join(out, "tile/entries/000");
    const before = statSync(tile).mtimeMs;
    mkdirSync(join(out, "backup-000002"));
    const second = must(await backUp(started.folder, out, { keep: 1 }));
    assert.deepEqual(second.removed, ["backup-000001"]);
    assert.equal(second.name, "backup-000003");
    assert.ok(second.copied < first.copied, `${second.copied} after ${first.copied}`);
    assert.equal(statSync(tile).mtimeMs, before);
    assert.deepEqual(readdirSync(out).sort(), ["backup-000003", "backup.lock", "tile"]);
    assert.equal((await completeBackups(nodeDisk, out)).length, 1);
    const partial = readdirSync(join(out, "tile/entries/001.p"));
    assert.deepEqual(partial, [String(end.size - 256)]);
    const logKey = must(parseVerifierKey(relayCrypto.sha256, started.relay.identity.logKey));
    must(openCheckpoint(relayCrypto, readFileSync(join(out, "backup-000003/checkpoint")), logKey));
    const names = readdirSync(out, { recursive: true, encoding: "utf8" });
    for (const secret of ["key.signed", "head", ".key", "keys"])
      assert.ok(!names.some((name) => name.endsWith(secret)), `no ${secret} in a backup`);
  });
});
