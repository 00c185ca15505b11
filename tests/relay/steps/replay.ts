import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Promised } from "./life.js";

/**
 * What trace.c told, played again on a disk in memory up to any step: all that a process had written, which is what is
 * there when it is killed, and what of it a power cut leaves. Bytes are durable with the sync of their file, names with
 * that of their folder; of the rest anything may be there, in any combination.
 */
export interface Step {
  readonly what: string;
  readonly open: number;
  readonly number: number;
  readonly bytes: Buffer;
  readonly path: string;
}

/** Steps in their order; `root` is taken off their paths. */
export function readTrace(trace: Buffer, root: string): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at < trace.length; ) {
    const end = trace.indexOf(10, at);
    const match = /^([a-z]+) (\d+) (\d+) (\d+) (.*)$/.exec(trace.toString("utf8", at, end))!;
    const length = Number(match[4]);
    const bytes = trace.subarray(end + 1, end + 1 + length);
    at = end + 1 + length;
    const below = (path: string) => path.slice(root.length + 1);
    const what = match[1]!;
    const path = match[5] === "-" ? "-" : below(match[5]!);
    const named = what === "rename" ? Buffer.from(below(bytes.toString())) : bytes;
    steps.push({ what, open: Number(match[2]), number: Number(match[3]), bytes: named, path });
  }
  return steps;
}

/** What has been promised before a step. */
export function promisesBefore(steps: readonly Step[], step: number): Promised[] {
  return steps
    .slice(0, step)
    .filter(({ what }) => what === "mark")
    .map(({ bytes }) => JSON.parse(bytes.toString()) as Promised);
}

/** Steps that change something: marks and mere opens do not. */
export function changes({ what }: Step): boolean {
  return what !== "mark" && what !== "open";
}

interface File {
  /** As the last sync left it. */
  durable: Buffer;
  readonly pending: ((content: Buffer) => Buffer)[];
}
const FOLDER = Symbol("folder");
type Names = Map<string, File | typeof FOLDER>;
interface NameChange {
  readonly folder: string;
  readonly apply: (names: Names) => void;
}

/** Which of what was not synced is there afterwards: `killed` has all of it. */
export type Keeps = () => boolean;

export class ReplayedDisk {
  readonly #durable: Names = new Map([["", FOLDER]]);
  readonly #visible: Names = new Map([["", FOLDER]]);
  #pending: NameChange[] = [];
  readonly #opens = new Map<number, { readonly path: string; readonly node: File | typeof FOLDER }>();

  play({ what, open, number, bytes, path }: Step): void {
    const file = this.#opens.get(open)?.node;
    const content = (change: (content: Buffer) => Buffer) => {
      if (file && file !== FOLDER) file.pending.push(change);
    };
    if (what === "create") this.#name(path, { durable: Buffer.alloc(0), pending: [] });
    if (what === "create" || what === "open" || what === "empty") {
      const node = this.#visible.get(path);
      if (node) this.#opens.set(open, { path, node });
      if (what === "empty" && node && node !== FOLDER) node.pending.push(() => Buffer.alloc(0));
    } else if (what === "write") content((before) => patched(before, number, bytes));
    else if (what === "truncate") content((before) => patched(before.subarray(0, number), number, Buffer.alloc(0)));
    else if (what === "folder") this.#name(path, FOLDER);
    else if (what === "rename") {
      const node = this.#visible.get(path)!;
      const to = bytes.toString();
      this.#change(path, (names) => {
        names.delete(path);
        names.set(to, node);
      });
    } else if (what === "remove") this.#change(path, (names) => void names.delete(path));
    else if (what === "sync") this.#sync(open);
  }

  #name(path: string, node: File | typeof FOLDER): void {
    this.#change(path, (names) => void names.set(path, node));
  }

  #change(path: string, apply: (names: Names) => void): void {
    apply(this.#visible);
    this.#pending.push({ folder: folderOf(path), apply });
  }

  #sync(open: number): void {
    const opened = this.#opens.get(open);
    if (!opened) return;
    if (opened.node !== FOLDER) {
      opened.node.durable = whole(opened.node);
      opened.node.pending.length = 0;
      return;
    }
    for (const { folder, apply } of this.#pending) if (folder === opened.path) apply(this.#durable);
    this.#pending = this.#pending.filter(({ folder }) => folder !== opened.path);
  }

  /** Files and folders after the end: path to bytes, undefined for a folder. */
  after(keeps: Keeps): Map<string, Buffer | undefined> {
    const names: Names = new Map(this.#durable);
    for (const { apply } of this.#pending) if (keeps()) apply(names);
    const left = new Map<string, Buffer | undefined>();
    for (const [path, node] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (path === "" || (folderOf(path) !== "" && !left.has(folderOf(path)))) continue;
      left.set(
        path,
        node === FOLDER ? undefined : node.pending.filter(keeps).reduce((c, change) => change(c), node.durable),
      );
    }
    return left;
  }
}

function whole({ durable, pending }: File): Buffer {
  return pending.reduce((content, change) => change(content), durable);
}

function patched(before: Buffer, at: number, bytes: Buffer): Buffer {
  const after = Buffer.alloc(Math.max(before.length, at + bytes.length));
  before.copy(after);
  bytes.copy(after, at);
  return after;
}

function folderOf(path: string): string {
  const folder = dirname(path);
  return folder === "." ? "" : folder;
}

/** Puts a state on the real disk. SQLite's shared memory is none of it: it is made anew. */
export function putState(state: ReadonlyMap<string, Buffer | undefined>, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [path, bytes] of state) {
    if (bytes === undefined) mkdirSync(join(folder, path), { recursive: true });
    else if (!path.endsWith("-shm"))
      writeFileSync(join(folder, path), bytes, { mode: /key|head/.test(path) ? 0o600 : 0o644 });
  }
}
