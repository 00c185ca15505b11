import { existsSync } from "node:fs";
import { join } from "node:path";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { type Code, type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { TILE_WIDTH } from "tallystick/log/tile";
import { foldPeaks, peakAddresses } from "tallystick/merkle/merkle";
import { relayCrypto as crypto } from "./crypto.js";
import { disagreement, erasedOf } from "./erasing.js";
import { type FolderLock, lockFolder, pathsOf, type RelayIdentity, readIdentity } from "./folder.js";
import { openDeviceFacingKey } from "./keys.js";
import { type Disk, DiskError, nodeDisk } from "./log/disk.js";
import { published } from "./log/erase-entries.js";
import { ErasedEntries } from "./log/erasures.js";
import { memoryPath, openFileSigner } from "./log/signer.js";
import { TileStore } from "./log/tiles.js";
import { bundlesOf, checkBundle, type Finding } from "./log/tree-check.js";
import { pinsOf, readStatements } from "./relay-keys.js";
import { checkChain } from "./store/chain-check.js";
import { isCorruption } from "./store/database.js";
import { checkReachable, openStoreToRead, type StoreOptions } from "./store/open.js";
import { PostgresError } from "./store/postgres/bridge.js";
import { StoredRows } from "./store/rows.js";
import { nameOfStore } from "./store/sql.js";
import { Store } from "./store/store.js";

/**
 * All of a relay's data folder, looked at once: identity, keys, what was signed, every tile and bundle, every row. Nothing
 * is written and no network is asked. Of a relay that runs, or has stopped; in a stopped one nothing can start meanwhile.
 */

/** Findings that are listed; of further ones only the number is known. */
export const LISTED_MAX = 1000;
/** Devices that are looked up at once. */
const DEVICES_AT_ONCE = 256;

/** `damaged`: bytes are wrong or lost. `recovers`: the next start puts it right. `unexamined`: it could not be looked at. */
export type Severity = "damaged" | "recovers" | "unexamined";

export interface FolderFinding {
  readonly severity: Severity;
  readonly code: Code;
  readonly where: string;
  readonly detail: string;
}

export interface FolderExamination {
  readonly identity: RelayIdentity;
  /** A relay ran on the folder meanwhile: what it had under way may show as a difference. */
  readonly running: boolean;
  readonly findings: readonly FolderFinding[];
  /** How many there are, listed or not. */
  readonly found: number;
  /** The tree that the files were held against. */
  readonly tree: TreeHead | undefined;
  readonly bundles: number;
  readonly records: number;
  readonly devices: number;
}

export interface ExamineOptions {
  /** Hears how far the work is, at most once for each hundredth of a part. */
  readonly onProgress?: (part: string, done: number, all: number) => void;
  readonly disk?: Disk;
  /** The lock, where the caller holds it. */
  readonly held?: FolderLock;
  /** Where the store is, where that is not SQLite's file in the folder. */
  readonly store?: StoreOptions;
}

/**
 * DATA_FOLDER_BLANK, DATA_FOLDER_INCOMPLETE and RELAY_FOREIGN: it is not known what should be there. STORE_ELSEWHERE where the
 * database is in PostgreSQL and no address is given.
 */
export async function examineFolder(dataDir: string, options: ExamineOptions = {}): Promise<Result<FolderExamination>> {
  const identity = readIdentity(dataDir);
  if (!identity.ok) return identity;
  // Without its address nothing of the database could be looked at.
  const reachable = checkReachable(dataDir, identity.value, options.store);
  if (!reachable.ok) return reachable;
  const pins = pinsOf(crypto, identity.value);
  if (!pins.ok) return pins;
  // Where there is no lock file no relay has ever run here; this command makes none.
  const lock = options.held || !existsSync(pathsOf(dataDir).lock) ? undefined : lockFolder(dataDir);
  try {
    const running = lock?.ok === false && lock.failure.code === "DATA_FOLDER_LOCKED";
    return ok(await new FolderExaminer(dataDir, identity.value, pins.value.logKey, running, options).run());
  } catch (error) {
    // A server that went away in the middle of it: nothing of what was found so far would be all.
    if (!(error instanceof PostgresError)) throw error;
    return fail("STORE_FAILED", `${error.message} (${error.code})`);
  } finally {
    if (lock?.ok) lock.value.release();
  }
}

class FolderExaminer {
  readonly #dataDir: string;
  readonly #identity: RelayIdentity;
  readonly #logKey: VerifierKey;
  readonly #running: boolean;
  readonly #disk: Disk;
  readonly #store: StoreOptions | undefined;
  /** What the database is called in a finding. */
  readonly #name: string;
  readonly #onProgress: NonNullable<ExamineOptions["onProgress"]>;
  readonly #findings: FolderFinding[] = [];
  #erased: ErasedEntries;
  /** An erasure is not carried out yet. */
  #erasing = false;
  #found = 0;
  #records = 0;
  #devices = 0;

  constructor(
    dataDir: string,
    identity: RelayIdentity,
    logKey: VerifierKey,
    running: boolean,
    options: ExamineOptions,
  ) {
    this.#dataDir = dataDir;
    this.#identity = identity;
    this.#logKey = logKey;
    this.#erased = new ErasedEntries(pathsOf(dataDir).logKept);
    this.#running = running;
    this.#disk = options.disk ?? nodeDisk;
    this.#store = options.store;
    this.#name = nameOfStore(identity.postgres === undefined ? {} : { dialect: "postgres" });
    this.#onProgress = options.onProgress ?? (() => undefined);
  }

  async run(): Promise<FolderExamination> {
    await this.#keys();
    // The database before what was signed: a running relay tells it of nothing that is not published.
    const store = this.#openStore();
    await this.#erasures(store);
    const rows = store && new StoredRows(store.database, crypto);
    const told = rows?.told() ?? 0;
    const tree = await this.#signed();
    if (tree && told > tree.size)
      this.#find("damaged", "LOG_BEHIND", this.#name, `expected at most ${tree.size} entries, received ${told}`);
    else if (rows && tree && !this.#running && told < tree.size && tree.size > 1)
      this.#find(
        "recovers",
        "STORE_INCOHERENT",
        this.#name,
        `the database was told of ${told} entries of ${tree.size}: the next start takes back what it lacks`,
      );
    if (tree) await this.#tiles(tree, rows, told);
    if (store && rows) {
      try {
        this.#rows(rows);
        this.#chains(store);
      } catch (error) {
        if (!isCorruption(error)) throw error;
        this.#find("damaged", "STORE_CORRUPT", this.#name, (error as Error).message);
      }
      store.close();
    }
    return {
      identity: this.#identity,
      running: this.#running,
      findings: this.#findings,
      found: this.#found,
      tree,
      bundles: tree ? bundlesOf(tree.size) : 0,
      records: this.#records,
      devices: this.#devices,
    };
  }

  /** Before anything is held against the log: an erased entry is there by its hash. */
  async #erasures(store: Store | undefined): Promise<void> {
    const { logPublic } = pathsOf(this.#dataDir);
    const where = "log/lock/erasures";
    const folder = { dataDir: this.#dataDir, disk: this.#disk };
    try {
      const erased = await erasedOf(folder, store);
      if (!erased.ok) this.#fail("damaged", where, erased.failure);
      else this.#erased = erased.value;
      const told = erased.ok && store ? await disagreement(folder, store) : undefined;
      if (told) this.#fail(told.severity, where, told.failure);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#find("unexamined", "LOG_IO_FAILED", where, error.message);
      if (store) this.#erased = new ErasedEntries(pathsOf(this.#dataDir).logKept, store.erasures.all("done"));
    }
    const waits = store?.erasures.summaries().filter(({ doneAtMs }) => doneAtMs === undefined) ?? [];
    this.#erasing = waits.length > 0;
    for (const { number } of waits)
      this.#find("recovers", "ERASURE_UNFINISHED", `${this.#name} erasures ${number}`, "it is not carried out yet");
    if (this.#running) return;
    for (const path of await published({ disk: this.#disk, folder: logPublic }, this.#erased))
      this.#find("recovers", "ERASURE_UNFINISHED", `log/public/${path}`, "expected no file where an entry was erased");
  }

  async #keys(): Promise<void> {
    const paths = pathsOf(this.#dataDir);
    const key = openDeviceFacingKey(paths.deviceFacingKey, crypto);
    if (!key.ok) this.#fail("damaged", "device-facing.key", key.failure);
    else if (toHex(key.value.publicKey) !== this.#identity.publicKey)
      this.#find("damaged", "RELAY_FOREIGN", "device-facing.key", "it is not the key that relay.json names");
    const statements = await readStatements(this.#dataDir, this.#identity, this.#disk);
    if (!statements.ok) this.#fail("damaged", "relay-keys.cborseq", statements.failure);
    if (existsSync(paths.nextKeys))
      this.#find(
        "recovers",
        "RELAY_FOREIGN",
        "relay-keys.next",
        "a change of the keys was decided and is not finished",
      );
    const ledgerKey = join(paths.ledger, "ledger.key");
    const mode = await this.#disk.mode(ledgerKey);
    if (mode !== undefined && (mode & 0o077) !== 0)
      this.#find("damaged", "RELAY_KEY_UNSAFE", "ledger/ledger.key", `expected mode 600, found ${mode.toString(8)}`);
  }

  /** Published checkpoint, lock and key's memory, in the order in which a running relay is behind: the tree they agree on. */
  async #signed(): Promise<TreeHead | undefined> {
    const { log, logKey, logPublic } = pathsOf(this.#dataDir);
    const tiles = new TileStore(this.#disk, crypto.sha256, logPublic);
    const published = this.#open("log/public/checkpoint", "CHECKPOINT_MALFORMED", await tiles.checkpoint(), "recovers");
    const lock = this.#open(
      "log/lock/head",
      "LOG_LOCK_CORRUPT",
      await this.#disk.read(join(log, "lock", "head")),
      "damaged",
    );
    const signer = await openFileSigner({ disk: this.#disk, crypto }, logKey, this.#identity.origin);
    let memory: TreeHead | undefined;
    if (!signer.ok) {
      this.#fail(
        "damaged",
        signer.failure.code === "LOG_SIGNER_STATE_CORRUPT" ? "log/key.signed" : "log/key",
        signer.failure,
      );
      // A key that cannot be read says nothing of its memory, which the log's public key opens.
      memory = this.#open("", "LOG_SIGNER_STATE_CORRUPT", await this.#disk.read(memoryPath(logKey)), undefined);
    } else if (!equalBytes(signer.value.key.publicKey, this.#logKey.publicKey))
      this.#find("damaged", "RELAY_FOREIGN", "log/key", "it is not the log key that relay.json names");
    else {
      memory = signer.value.last();
      if (!memory)
        this.#find("damaged", "LOG_SIGNER_STATE_CORRUPT", "log/key.signed", "expected a memory, received none");
    }
    if (memory)
      for (const [where, tree] of [
        ["log/lock/head", lock],
        ["log/public/checkpoint", published],
      ] as const) {
        if (!tree) continue;
        const sizes = `${where} has ${tree.size} entries, the key signed ${memory.size} last`;
        if (tree.size > memory.size) this.#find("damaged", "LOG_BEHIND", "log/key.signed", sizes);
        else if (tree.size < memory.size && !this.#running)
          this.#find("recovers", "LOG_BEHIND", where, `${sizes}: the next start brings it forward`);
      }
    const trees = [published, lock, memory].filter((tree) => tree !== undefined);
    // Beside a running relay what is published is whole; what is signed beyond may be on its way.
    const tree = this.#running && published ? published : trees.reduce((a, b) => (b.size > a.size ? b : a), trees[0]!);
    if (tree) await this.#consistent(tiles, tree, trees);
    return tree;
  }

  /** Every smaller tree that was signed must be a beginning of the largest. */
  async #consistent(tiles: TileStore, tree: TreeHead, trees: readonly TreeHead[]): Promise<void> {
    for (const { size, root } of trees) {
      if (size > tree.size) continue;
      const addresses = peakAddresses(size);
      const nodes = await tiles.nodes([addresses], tree.size);
      // What is missing is found again, and named, as the tiles are gone through.
      if (!nodes.ok) continue;
      const stored = foldPeaks(crypto.sha256, addresses.map(nodes.value));
      if (equalBytes(stored, root) || size === tree.size) {
        if (size !== tree.size || equalBytes(root, tree.root)) continue;
        this.#find(
          "damaged",
          "LOG_FORKED",
          "log",
          `two roots were signed at ${size}: ${toHex(root)} and ${toHex(tree.root)}`,
        );
        continue;
      }
      const whole = await tiles.nodes([peakAddresses(tree.size)], tree.size);
      const holds =
        whole.ok && equalBytes(foldPeaks(crypto.sha256, peakAddresses(tree.size).map(whole.value)), tree.root);
      if (holds)
        this.#find(
          "damaged",
          "LOG_FORKED",
          "log",
          `at ${size} the key signed ${toHex(root)}, the tiles have ${toHex(stored)}`,
        );
    }
  }

  #open(
    where: string,
    code: Code,
    bytes: Uint8Array | undefined,
    severity: Severity | undefined,
  ): TreeHead | undefined {
    const opened = bytes && openCheckpoint(crypto, bytes, this.#logKey);
    if (opened?.ok) return opened.value;
    const missing: Code = code === "LOG_LOCK_CORRUPT" ? "LOG_LOCK_MISSING" : code;
    if (severity && !opened) this.#find(severity, missing, where, "expected the newest checkpoint, received no file");
    else if (severity && opened) this.#find(severity, code, where, opened.failure.detail);
    return undefined;
  }

  async #tiles(tree: TreeHead, rows: StoredRows | undefined, told: number): Promise<void> {
    const options = {
      disk: this.#disk,
      sha256: crypto.sha256,
      folder: pathsOf(this.#dataDir).logPublic,
      erased: this.#erased,
    };
    const all = bundlesOf(tree.size);
    const known = new Set<string>();
    for (let bundle = 0; bundle < all; bundle++) {
      const { findings, ids } = await checkBundle(options, tree, bundle);
      for (const { code, where, detail } of findings) {
        const folder = this.#erased.isKept(where) ? "log/kept" : "log/public";
        // Repair puts it right, too, where no erasure waits to be finished.
        const severity = code === "ERASURE_UNFINISHED" && this.#erasing ? "recovers" : "damaged";
        if (!known.has(where)) this.#find(severity, code, `${folder}/${where}`, detail);
        known.add(where);
      }
      if (ids && rows) this.#rowFindings(rows.checkLogged(bundle * TILE_WIDTH, ids, told));
      this.#progress("log", bundle + 1, all);
    }
  }

  #openStore(): Store | undefined {
    const database = openStoreToRead(this.#dataDir, this.#identity, this.#store);
    if (database.ok) return new Store(database.value);
    const { failure } = database;
    // A server that does not answer, or lets nobody in, says nothing of what it holds; nor does a disk that is full or read-only.
    const isUnseen =
      failure.code === "STORE_UNEXAMINED" || failure.code === "STORE_UNREACHABLE" || failure.code === "STORE_FAILED";
    this.#fail(isUnseen ? "unexamined" : "damaged", this.#name, failure);
    return undefined;
  }

  #rows(rows: StoredRows): void {
    for (const { name, pages, check } of rows.parts) {
      // A record is looked at with its chain, which says more.
      if (name === "records" || name === "gaps" || name === "forks") continue;
      const all = pages();
      for (let page = 0; page < all; page++) {
        this.#rowFindings(check(page));
        this.#progress(name, page + 1, all);
      }
    }
  }

  #chains(store: Store): void {
    const all = store.countDevices();
    let after: Uint8Array = new Uint8Array(0);
    for (;;) {
      const page = store.devicesAfter(after, DEVICES_AT_ONCE);
      for (const device of page) {
        const { findings, records } = checkChain({ store, crypto }, device);
        this.#rowFindings(findings);
        this.#records += records;
        this.#progress("chains", ++this.#devices, all);
      }
      const last = page.at(-1);
      if (page.length < DEVICES_AT_ONCE || !last) return;
      after = last.kid;
    }
  }

  #rowFindings(findings: readonly Finding[]): void {
    for (const { code, where, detail } of findings) this.#find("damaged", code, where, detail);
  }

  #fail(severity: Severity, where: string, { code, detail }: Failure): void {
    this.#find(severity, code, where, detail);
  }

  #find(severity: Severity, code: Code, where: string, detail: string): void {
    this.#found++;
    if (this.#findings.length < LISTED_MAX) this.#findings.push({ severity, code, where, detail });
  }

  #progress(part: string, done: number, all: number): void {
    const hundredth = Math.max(1, Math.floor(all / 100));
    if (done % hundredth === 0 || done === all) this.#onProgress(part, done, all);
  }
}
