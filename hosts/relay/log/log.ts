/** The relay's transparency log: one folder of C2SP tiles, one key, one lock, and proofs of everything in it. */
import { join } from "node:path";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import type { TreeHead } from "tallystick/log/checkpoint";
import type { NoteSignature, VerifierKey } from "tallystick/log/note";
import type { Opening } from "tallystick/log/opening";
import { TILE_WIDTH, tileWidth } from "tallystick/log/tile";
import { withCosignatures } from "tallystick/log/witness";
import { peakAddresses } from "tallystick/merkle/merkle";
import { consistencyPlan, inclusionPlan, type PathPlan, readPath } from "tallystick/merkle/proof";
import { encodeConsistencyReceipt, encodeInclusionReceipt } from "tallystick/receipt/receipt";
import { type Disk, DiskError, makeFolderDurable, nodeDisk } from "./disk.js";
import { eraseEntries } from "./erase-entries.js";
import { ErasedEntries, type ErasedRecord } from "./erasures.js";
import { Follower, followingSigner } from "./follower.js";
import { CosignedHeads, HEADS_NAME, HeadsFile } from "./heads.js";
import { type Lock, openFileLock } from "./lock.js";
import { type EntrySource, type KnownTree, Sequencer, type SignedHead } from "./sequencer.js";
import { createLogKey, type LogSigner, memoryPath, openFileSigner } from "./signer.js";
import { TileStore } from "./tiles.js";

export interface LogOptions {
  /** The log's name, and its key's: a URL without its scheme, such as `relay.example/attic`. */
  readonly origin: string;
  readonly crypto: Crypto;
  /** Makes the key of a new log. */
  readonly entropy: Entropy;
  readonly source: EntrySource;
  /** What leaf 0 states; used when the log begins. */
  readonly opening: Omit<Opening, "origin" | "logKey">;
  /** Trees of this log that ledgers and witnesses know; the log refuses to go on from less, or beside them. */
  readonly known?: readonly KnownTree[];
  readonly disk?: Disk;
  /** Default `public` in the log's folder: checkpoint and tiles, for any file server. */
  readonly publicFolder?: string;
  /** Entries that were erased; by default none. It is the log's from here on. */
  readonly erased?: ErasedEntries;
  /** Default `lock` in the log's folder; best on another disk, and in no backup of the rest. */
  readonly lockFolder?: string;
  /** Default `key` in the log's folder; its memory is beside it. */
  readonly keyPath?: string;
  /** Whose cosignatures the checkpoint carries on from a former run; at most WITNESSES_MAX, none by default. */
  readonly witnesses?: readonly VerifierKey[];
  /** Other processes follow the log, and prove its entries: what they need is written for them (heads.ts). */
  readonly followed?: boolean;
  /** Hears of each checkpoint once it is published, without cosignatures. */
  readonly onCheckpoint?: (head: SignedHead) => void;
}

/** Keeps the head and moves it on, or follows whoever does. */
type HeadKeeper = Pick<Sequencer, "head" | "recover" | "step" | "publishAgain">;

/** What is kept of heads beside the newest. */
interface Heads {
  readonly cosigned: CosignedHeads;
  /** Where other processes follow. */
  readonly file?: HeadsFile | undefined;
}

/** How often a path is looked for again where the log went on under a process that follows it. */
const FOLLOWED_TRIES = 3;

export class Log {
  readonly #options: Pick<LogOptions, "crypto" | "onCheckpoint" | "disk">;
  readonly #tiles: TileStore;
  readonly #signer: LogSigner;
  readonly #lock: Pick<Lock, "close">;
  readonly #sequencer: HeadKeeper;
  readonly #erased: ErasedEntries;
  #running: Promise<Result<number>> | undefined;
  /** The recovery or batch under way, or the last one: what is signed is published when it ends, or it has failed. */
  #publishing: Promise<Result<unknown>> = Promise.resolve(ok(true));
  /** The last of the calls that write, each of which begins when the one before has ended. */
  #turn: Promise<unknown> = Promise.resolve();
  /** What a busy log proves its entries with. */
  readonly #heads: Heads;
  #halted: Failure | undefined;
  /** False while a run is under way, and after one that failed: the next recovers first. */
  #settled = true;
  /** Entries of the newest checkpoint that `onCheckpoint` was told of, or that was there when the log was opened. */
  #toldSize: number;
  #closed = false;

  private constructor(
    options: Pick<LogOptions, "crypto" | "onCheckpoint" | "disk">,
    erased: ErasedEntries,
    tiles: TileStore,
    signer: LogSigner,
    lock: Pick<Lock, "close">,
    sequencer: HeadKeeper,
    heads: Heads = { cosigned: new CosignedHeads() },
  ) {
    this.#options = options;
    this.#erased = erased;
    this.#tiles = tiles;
    this.#signer = signer;
    this.#lock = lock;
    this.#sequencer = sequencer;
    this.#toldSize = sequencer.head?.size ?? 0;
    this.#heads = heads;
    heads.cosigned.keep(this.head);
  }

  /**
   * Opens the log in `folder` for this process alone, recovers what a crash left, and begins a log where there is none:
   * the key is made only where neither key, nor memory, nor lock, nor checkpoint exist. Every LOG_ code; LOG_IO_FAILED
   * where the disk refuses.
   */
  static async open(folder: string, options: LogOptions): Promise<Result<Log>> {
    return guarded(() => Log.#open(folder, options));
  }

  static async #open(folder: string, options: LogOptions): Promise<Result<Log>> {
    const { disk = nodeDisk } = options;
    await makeFolderDurable(disk, folder);
    const lock = await openFileLock(disk, options.lockFolder ?? join(folder, "lock"));
    if (!lock.ok) return lock;
    let opened: Result<Log> | undefined;
    try {
      opened = await Log.#openHeld(folder, options, disk, lock.value);
      return opened;
    } finally {
      if (!opened?.ok) lock.value.close();
    }
  }

  static async #openHeld(folder: string, options: LogOptions, disk: Disk, lock: Lock): Promise<Result<Log>> {
    const { crypto, origin, source, opening, known = [], witnesses = [] } = options;
    const keyPath = options.keyPath ?? join(folder, "key");
    const publicFolder = options.publicFolder ?? join(folder, "public");
    await makeFolderDurable(disk, publicFolder);
    const { erased = new ErasedEntries(join(folder, "kept")) } = options;
    const tiles = new TileStore(disk, crypto.sha256, publicFolder, erased);
    const traces = [await disk.read(keyPath), await disk.read(memoryPath(keyPath)), await lock.read()];
    if ([...traces, await tiles.checkpoint()].every((trace) => trace === undefined)) {
      const created = await createLogKey({ ...options, disk }, keyPath, origin);
      if (!created.ok) return created;
    }
    const signer = await openFileSigner({ disk, crypto }, keyPath, origin);
    if (!signer.ok) return signer;
    const cosigned = new CosignedHeads();
    const file = options.followed ? await HeadsFile.open(disk, join(folder, HEADS_NAME), cosigned) : undefined;
    const announce = file && ((head: SignedHead) => file.announce(head));
    const parts = { crypto, tiles, lock, signer: signer.value, source, opening, known, witnesses, erased, announce };
    const sequencer = new Sequencer(parts);
    const recovered = await sequencer.recover();
    return recovered.ok
      ? ok(new Log(options, erased, tiles, signer.value, lock, sequencer, { cosigned, file }))
      : recovered;
  }

  /**
   * The log in `folder` as another process sequences it: it can be read, and proofs be made with the heads that this one has
   * signed. What is wrong with its checkpoint.
   */
  static async follow(
    folder: string,
    crypto: Crypto,
    key: VerifierKey,
    erased: ErasedEntries = new ErasedEntries(join(folder, "kept")),
  ): Promise<Result<Log>> {
    const publicFolder = join(folder, "public");
    const follower = new Follower(crypto, publicFolder, join(folder, HEADS_NAME), key);
    const found = await follower.recover();
    if (!found.ok) return found;
    const tiles = new TileStore(nodeDisk, crypto.sha256, publicFolder, erased);
    return ok(new Log({ crypto }, erased, tiles, followingSigner(crypto, key), { close: () => undefined }, follower));
  }

  /** Who checkpoints and receipts are verified by; its name is the origin. */
  get key(): VerifierKey {
    return this.#signer.key;
  }

  /** First 8 bytes of SHA-256 over the log key's COSE_Key, as receipts name it. */
  get kid(): Uint8Array {
    return this.#signer.kid;
  }

  /** Another process sequences, and this one reads what it publishes. */
  get follows(): boolean {
    return this.#sequencer instanceof Follower;
  }

  /** The newest published tree with its signatures; `checkpoint` is the note as it is published, cosignatures included. */
  get head(): SignedHead {
    return this.#sequencer.head!;
  }

  /** The last tree that the log's key has signed here; ahead of the head while that is being published. */
  get signed(): TreeHead {
    return this.#signer.last() ?? this.head;
  }

  /**
   * Integrates all that the source holds and publishes it; how many entries it were. Calls at the same time share one
   * run, whose result may lack what became durable after it looked: call again. After a failure the next call recovers
   * first, so what can pass (a full disk) passes. Throws what the source throws.
   */
  sequence(): Promise<Result<number>> {
    this.#running ??= this.#inTurn(() => this.#sequence()).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /**
   * Resolves when a tree of `size` or more is published: at once, or when the batch is whose tree is signed already. Its own
   * code where that failed, LOG_IO_FAILED where it will be published by the next run, LOG_ENTRY_UNKNOWN where nothing of that
   * size is signed; and where this process follows a log, what keeps it from reading the newest checkpoint: who was told of an
   * old one with the time of now would hold the relay's word that nothing has been logged meanwhile.
   */
  async reach(size: number): Promise<Result<true>> {
    if (this.follows) {
      const looked = await this.#sequencer.recover();
      if (!looked.ok) return looked;
    }
    if (size <= this.head.size) return ok(true);
    if (size > this.signed.size) return unknown(size, this.signed.size + 1);
    const ended = await this.#publishing;
    if (size <= this.head.size) return ok(true);
    return ended.ok
      ? fail("LOG_IO_FAILED", `the checkpoint of ${this.signed.size} entries is not published yet`)
      : ended;
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(run);
    // How it ended its own caller hears.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #sequence(): Promise<Result<number>> {
    if (this.#closed) throw new Error("the log is closed");
    if (this.#halted) return { ok: false, failure: this.#halted };
    const unsettled = !this.#settled;
    this.#settled = false;
    const result = await guarded(() => this.#run(unsettled));
    this.#settled = result.ok;
    return result;
  }

  async #run(unsettled: boolean): Promise<Result<number>> {
    const before = this.head.size;
    if (unsettled) {
      const recovered = await this.#publish(() => this.#sequencer.recover());
      if (!recovered.ok) return recovered;
      this.#tell();
    }
    while (!this.#closed) {
      const step = await this.#publish(() => this.#sequencer.step());
      if (!step.ok) return step;
      if (step.value === 0) break;
      this.#tell();
    }
    return ok(this.head.size - before);
  }

  #publish<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
    const publishing = guarded(run);
    // What the source throws its own caller hears.
    this.#publishing = publishing.catch(() => ok(true));
    return publishing;
  }

  /** Also of a checkpoint that an earlier run published before it failed: ledger and witnesses wait for its being told. */
  #tell(): void {
    const { head } = this;
    if (head.size <= this.#toldSize) return;
    this.#options.onCheckpoint?.(head);
    this.#toldSize = head.size;
  }

  /** Signs nothing from here on: someone has shown a tree of this log's key that this one is not, or is less than. */
  halt(failure: Failure): void {
    this.#halted ??= failure;
  }

  /**
   * Carries `cosignatures` of the tree of `head`, a head of this log, with its checkpoint from here on, and publishes that
   * anew where it is the newest. They are the caller's to verify. LOG_IO_FAILED, with the published checkpoint as it was.
   */
  cosign(head: SignedHead, cosignatures: readonly NoteSignature[]): Promise<Result<true>> {
    return this.#inTurn(() => guarded(() => this.#cosign(head, cosignatures)));
  }

  async #cosign(head: SignedHead, cosignatures: readonly NoteSignature[]): Promise<Result<true>> {
    if (this.#closed) return ok(true);
    const isNewest = this.head.size === head.size;
    const { cosigned, file } = this.#heads;
    const held = isNewest ? this.head : (cosigned.at(head.size) ?? head);
    const checkpoint = withCosignatures(held.checkpoint, cosignatures);
    if (!checkpoint.ok) return checkpoint;
    // After a failed run a newer checkpoint may be in the file already: that one is left to the recovery.
    if (isNewest && this.#settled) await this.#sequencer.publishAgain(checkpoint.value);
    cosigned.keep({ ...held, checkpoint: checkpoint.value });
    await file?.write();
    return ok(true);
  }

  /**
   * The tree to prove the log's first `size` entries with: of those that hold them the one that most witnesses cosigned.
   * A log that grows faster than its witnesses answer has no cosignature of its newest.
   */
  cosignedHead(size: number): SignedHead {
    const keeper = this.#sequencer;
    if (keeper instanceof Follower) return keeper.cosignedHead(size)!;
    return this.#heads.cosigned.best(size) ?? this.head;
  }

  /**
   * Takes the entries of `records` out of the log's files; `remember` makes durable that they are erased, between what is
   * kept being written and the rest being removed. Doing it again changes nothing. LOG_TILE_CORRUPT, LOG_IO_FAILED, and
   * what `remember` answers: then no reader of this log knows of it yet.
   */
  erase(records: readonly ErasedRecord[], remember: () => Promise<Result<true>>): Promise<Result<true>> {
    return this.#inTurn(() => guarded(() => this.#erase(records, remember)));
  }

  async #erase(records: readonly ErasedRecord[], remember: () => Promise<Result<true>>): Promise<Result<true>> {
    if (this.#closed) throw new Error("the log is closed");
    const { disk = nodeDisk } = this.#options;
    return eraseEntries({ disk, folder: this.#tiles.folder }, this.#erased, records, remember);
  }

  /** Whether a bundle holds erased entries, and is published no more. */
  withholds(bundle: number): boolean {
    return this.#erased.holds(bundle);
  }

  /** The entry's bytes. LOG_ENTRY_UNKNOWN at or beyond the head's size, LOG_ENTRY_ERASED. */
  async entry(index: number): Promise<Result<Uint8Array>> {
    const rest = await this.entriesFrom(index);
    return rest.ok ? ok(rest.value[0]!) : rest;
  }

  /** Entries from `index` to the end of their bundle, or up to one that was erased: at least one and at most 256. */
  entriesFrom(index: number): Promise<Result<readonly Uint8Array[]>> {
    return guarded(async () => {
      const { size } = this.head;
      if (!isBelow(index, size)) return unknown(index, size);
      const bundleIndex = Math.floor(index / TILE_WIDTH);
      if (this.#erased.idOf(index)) return fail("LOG_ENTRY_ERASED", `expected entry ${index}, received its hash alone`);
      const bundle = await this.#tiles.bundle(bundleIndex, tileWidth(0, bundleIndex, size));
      if (!bundle.ok) return bundle;
      const rest = bundle.value.slice(index % TILE_WIDTH);
      const erased = rest.findIndex((_, at) => this.#erased.idOf(index + at) !== undefined);
      return ok(erased < 0 ? rest : rest.slice(0, erased));
    });
  }

  /** The inclusion path of an entry in the head's tree, or in that of `size`. LOG_ENTRY_UNKNOWN. */
  async inclusion(index: number, size = this.head.size): Promise<Result<Uint8Array[]>> {
    if (!isBelow(size, this.head.size + 1) || !isBelow(index, size)) return unknown(index, size);
    return this.#path(inclusionPlan(index, size));
  }

  /** The consistency path from the tree of `oldSize` to the head's, or to that of `size`. LOG_ENTRY_UNKNOWN. */
  async consistency(oldSize: number, size = this.head.size): Promise<Result<Uint8Array[]>> {
    if (!isBelow(size, this.head.size + 1) || !isBelow(oldSize, size + 1)) return unknown(oldSize, size);
    return this.#path(consistencyPlan(oldSize, size));
  }

  #path(plan: PathPlan): Promise<Result<Uint8Array[]>> {
    return guarded(async () => {
      for (let tries = FOLLOWED_TRIES; ; tries--) {
        const { size } = this.head;
        const nodes = await this.#tiles.nodes(plan, size);
        if (nodes.ok) return ok(readPath(this.#options.crypto.sha256, plan, nodes.value));
        // Partial tiles give way to full ones once a larger tree is published, which may have been just now.
        if (tries === 1 || nodes.failure.code !== "LOG_TILE_MISSING" || this.head.size === size) return nodes;
      }
    });
  }

  /** The root of the tree of `size`, out of the tiles. LOG_ENTRY_UNKNOWN beyond the head. */
  async rootAt(size: number): Promise<Result<Uint8Array>> {
    if (!isBelow(size, this.head.size + 1)) return unknown(size, this.head.size + 1);
    const root = await this.#path([peakAddresses(size)]);
    return root.ok ? ok(root.value[0]!) : root;
  }

  /** A COSE Receipt of inclusion in the head's tree; ship `head.checkpoint` with it. LOG_ENTRY_UNKNOWN. */
  async receipt(index: number, head: SignedHead = this.head): Promise<Result<Uint8Array>> {
    const { size, receiptSignature: signature } = head;
    if (signature.length === 0) return unsigned(size);
    const path = await this.inclusion(index, size);
    if (!path.ok) return path;
    if (path.value.length === 0) return unknown(index, size);
    return ok(encodeInclusionReceipt({ size, index, path: path.value, kid: this.kid, signature }));
  }

  /** A COSE Receipt that the head's tree continues that of `oldSize`, 0 < oldSize < size. LOG_ENTRY_UNKNOWN. */
  async consistencyReceipt(oldSize: number): Promise<Result<Uint8Array>> {
    const { size, receiptSignature: signature } = this.head;
    if (signature.length === 0) return unsigned(size);
    const path = await this.consistency(oldSize, size);
    if (!path.ok) return path;
    if (path.value.length === 0) return unknown(oldSize, size);
    return ok(encodeConsistencyReceipt({ oldSize, size, path: path.value, kid: this.kid, signature }));
  }

  /** Ends the run under way, then lets another process open the log. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    this.#lock.close();
  }
}

function isBelow(value: number, bound: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < bound;
}

/** Of a process that follows: the sequencer beside it has not written its signature down (heads.ts). */
function unsigned(size: number): Result<never> {
  return fail("SEQUENCER_ONLY", `expected the signature for receipts of the tree of ${size} entries, received none`);
}

function unknown(index: number, size: number): Result<never> {
  return fail("LOG_ENTRY_UNKNOWN", `expected an index below ${size}, received ${index}`);
}

/** What the disk refuses is an expected failure; anything else thrown is a defect and stays thrown. */
async function guarded<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof DiskError) return fail("LOG_IO_FAILED", error.message);
    throw error;
  }
}
