/**
 * A disk in memory that loses power as a real one may: bytes of a file are durable after `write`, names only after
 * `syncFolder`; of what was not synced any part may be there after the cut, in any order. Each mutating step is counted,
 * and one of them can be made the last (cut) or fail (fault), before, half-way or after its effect.
 */
import { dirname } from "node:path";
import { type Disk, DiskError } from "../../hosts/relay/log/disk.js";

/** The power went. Nothing catches it but the test. */
export class PowerCut extends Error {
  override name = "PowerCut";
}

export type Moment = "before" | "half" | "after";

interface Injection {
  readonly kind: "cut" | "fault";
  /** Mutating step, counted from 1. */
  readonly step: number;
  readonly moment: Moment;
}

/** A seeded generator (mulberry32): the same seed gives the same run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const FOLDER = Symbol("folder");
type Node = Uint8Array | typeof FOLDER;
type Tree = Map<string, Node>;

interface Pending {
  readonly folder: string;
  readonly apply: (tree: Tree) => void;
}

export class MemoryDisk implements Disk {
  injection: Injection | undefined;
  /** Mutating steps so far. */
  steps = 0;
  /** What each step was, for the test that asks whether all kinds were hit. */
  readonly trace: string[] = [];
  #visible: Tree;
  #durable: Tree;
  #pending: Pending[] = [];
  readonly #modes = new Map<string, number>();
  readonly #held = new Set<string>();
  #dead = false;

  constructor(durable: Tree = new Map([["/", FOLDER]])) {
    this.#durable = durable;
    this.#visible = new Map(durable);
  }

  /** One mutating step of anything that shares this disk's power: `effect` happens, or not, as injected. */
  step(name: string, effect: () => void, half: () => void = () => undefined): void {
    if (this.#dead) throw new PowerCut(`after the cut: ${name}`);
    this.steps += 1;
    this.trace.push(name);
    const here = this.injection?.step === this.steps ? this.injection : undefined;
    if (here?.moment === "half") half();
    if (here === undefined || here.moment === "after") effect();
    if (here === undefined) return;
    if (here.kind === "fault") throw new Error(`injected at step ${here.step}, ${here.moment} ${name}`);
    this.#dead = true;
    throw new PowerCut(`at step ${here.step}, ${here.moment} ${name}`);
  }

  /** The disk as the next start finds it. `keep` decides about each name that was not synced; without it, none is. */
  restart(keep: () => boolean = () => false): MemoryDisk {
    this.#dead = true;
    const tree: Tree = new Map(this.#durable);
    for (const { apply } of this.#pending) if (keep()) apply(tree);
    for (const path of [...tree.keys()].sort()) {
      if (path !== "/" && tree.get(dirname(path)) !== FOLDER) tree.delete(path);
    }
    const next = new MemoryDisk(tree);
    for (const [path, mode] of this.#modes) next.#modes.set(path, mode);
    return next;
  }

  /** Every file as it is seen now. */
  files(): Map<string, Uint8Array> {
    const files = new Map<string, Uint8Array>();
    for (const [path, node] of this.#visible) if (node !== FOLDER) files.set(path, node);
    return files;
  }

  /** Changes a file behind the log's back, durably; `undefined` removes it. */
  tamper(path: string, bytes: Uint8Array | undefined): void {
    for (const tree of [this.#visible, this.#durable]) {
      if (bytes === undefined) tree.delete(path);
      else tree.set(path, bytes);
    }
  }

  setMode(path: string, mode: number): void {
    this.#modes.set(path, mode);
  }

  #change(name: string, path: string, apply: (tree: Tree) => void, half?: () => void): void {
    try {
      this.step(
        `${name} ${path}`,
        () => {
          apply(this.#visible);
          this.#pending.push({ folder: dirname(path), apply });
        },
        half,
      );
    } catch (cause) {
      if (cause instanceof PowerCut) throw cause;
      throw new DiskError("write", path, cause);
    }
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    if (this.#dead) throw new PowerCut(`after the cut: read ${path}`);
    const node = this.#visible.get(path);
    return node === FOLDER ? undefined : node?.slice();
  }

  async write(path: string, bytes: Uint8Array, mode: number): Promise<void> {
    if (this.#visible.get(dirname(path)) !== FOLDER) throw new Error(`no folder for ${path}`);
    const put = (content: Uint8Array) => (tree: Tree) => void tree.set(path, content.slice());
    const half = put(bytes.slice(0, Math.floor(bytes.length / 2)));
    this.#change("write", path, put(bytes), () => {
      half(this.#visible);
      this.#pending.push({ folder: dirname(path), apply: half });
    });
    this.#modes.set(path, mode);
  }

  async syncFile(path: string): Promise<void> {
    // What is written here is durable at once.
    if (!(this.#visible.get(path) instanceof Uint8Array)) throw new Error(`no file ${path}`);
  }

  async rename(from: string, to: string): Promise<void> {
    const content = this.#visible.get(from);
    if (content === undefined || content === FOLDER) throw new Error(`no file ${from}`);
    this.#change("rename", to, (tree) => {
      tree.delete(from);
      tree.set(to, content);
    });
    this.#modes.set(to, this.#modes.get(from) ?? 0o644);
  }

  async syncFolder(path: string): Promise<void> {
    const flush = (count: number) => {
      const kept: Pending[] = [];
      let flushed = 0;
      for (const pending of this.#pending) {
        if (pending.folder === path && flushed < count) {
          pending.apply(this.#durable);
          flushed += 1;
        } else kept.push(pending);
      }
      this.#pending = kept;
    };
    try {
      this.step(
        `syncFolder ${path}`,
        () => flush(Number.POSITIVE_INFINITY),
        () => flush(1),
      );
    } catch (cause) {
      if (cause instanceof PowerCut) throw cause;
      throw new DiskError("syncFolder", path, cause);
    }
  }

  async makeFolder(path: string): Promise<void> {
    if (this.#visible.get(path) === FOLDER) return;
    if (this.#visible.get(dirname(path)) !== FOLDER) throw new Error(`no folder for ${path}`);
    this.#change("makeFolder", path, (tree) => void tree.set(path, FOLDER));
  }

  async list(path: string): Promise<readonly string[]> {
    return [...this.#visible.keys()]
      .filter((each) => dirname(each) === path && each !== "/")
      .map((each) => each.slice(path.length + 1));
  }

  async remove(path: string): Promise<void> {
    const apply = (tree: Tree) => {
      for (const each of [...tree.keys()]) if (each === path || each.startsWith(`${path}/`)) tree.delete(each);
    };
    this.#change("remove", path, apply);
  }

  async mode(path: string): Promise<number | undefined> {
    return this.#visible.has(path) ? this.#modes.get(path) : undefined;
  }

  async hold(path: string): Promise<{ release(): void } | undefined> {
    if (this.#held.has(path)) return undefined;
    this.#held.add(path);
    return { release: () => void this.#held.delete(path) };
  }
}
