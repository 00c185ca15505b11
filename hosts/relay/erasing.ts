import type { Logger } from "pino";
import { toHex } from "tallystick/bytes/bytes";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { pathsOf } from "./folder.js";
import type { Disk } from "./log/disk.js";
import { eraseAgain, eraseEntries } from "./log/erase-entries.js";
import {
  ErasedEntries,
  type ErasedRecord,
  type Erasure,
  erasuresText,
  FollowedErasures,
  readErasures,
  uniteErasures,
  writeErasures,
} from "./log/erasures.js";
import { isCorruption, isDatabaseError, tellable } from "./store/database.js";
import type { Store } from "./store/store.js";

/**
 * Carries out what was decided to be erased (erase.ts):
 *
 *   0. the decision is in the database     durable; from here on nobody is given the bytes
 *   1. what is kept of the bundles         without the entries, beside the public folder
 *   2. log/lock/erasures                   from here on all readers of the log know, also those of an older database
 *   3. the bundles are removed
 *   4. the rows' bytes are emptied
 *   5. the database is written anew        free pages and the write-ahead log hold nothing of them
 *   6. the decision is marked as done
 *
 * Each may be done again. A start that finds a decision without its mark begins at 1; one that finds a decision in the list
 * that the database does not know of, since an older copy was put back, takes it over, and begins at 1.
 */

export interface ErasingOptions {
  readonly dataDir: string;
  readonly store: Store;
  readonly disk: Disk;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** What the log of a folder has erased, by its list and its database; then both say the same. ERASURES_CORRUPT. */
export async function openErasures({
  dataDir,
  store,
  disk,
}: Omit<ErasingOptions, "nowMs">): Promise<Result<ErasedEntries>> {
  const paths = pathsOf(dataDir);
  const listed = await readErasures(disk, paths.erasures);
  if (!listed.ok) return listed;
  const unknown = listed.value.filter(({ number }) => !store.erasures.has(number));
  if (unknown.length > 0)
    store.transaction(() => {
      for (const erasure of unknown) store.erasures.add(erasure);
    });
  // One that is not carried out yet is listed once what is kept of its bundles is there.
  const all = uniteErasures(listed.value, store.erasures.all("done"));
  if (all.length > listed.value.length) await writeErasures(disk, paths.erasures, all);
  const erased = new ErasedEntries(paths.logKept, all);
  const again = await eraseAgain({ disk, folder: paths.logPublic }, erased);
  return again.ok ? ok(erased) : again;
}

/** The same of a folder that is only read. ERASURES_CORRUPT. */
export async function erasedOf(
  folder: Pick<ErasingOptions, "dataDir" | "disk">,
  store: Pick<Store, "erasures"> | undefined,
): Promise<Result<ErasedEntries>> {
  const erasures = await erasuresOf(folder, store);
  return erasures.ok ? ok(new ErasedEntries(pathsOf(folder.dataDir).logKept, erasures.value)) : erasures;
}

/** The same of a folder in whose log another process erases meanwhile. ERASURES_CORRUPT. */
export async function followErasures(
  folder: Pick<ErasingOptions, "dataDir" | "disk">,
  store: Pick<Store, "erasures">,
): Promise<Result<ErasedEntries>> {
  const erasures = await erasuresOf(folder, store);
  const paths = pathsOf(folder.dataDir);
  return erasures.ok ? ok(new FollowedErasures(paths.logKept, paths.erasures, erasures.value)) : erasures;
}

/** What is carried out in a folder's log, by its list and a database of it. ERASURES_CORRUPT. */
export async function erasuresOf(
  { dataDir, disk }: Pick<ErasingOptions, "dataDir" | "disk">,
  store: Pick<Store, "erasures"> | undefined,
): Promise<Result<readonly Erasure[]>> {
  const listed = await readErasures(disk, pathsOf(dataDir).erasures);
  return listed.ok ? ok(uniteErasures(listed.value, store?.erasures.all("done") ?? [])) : listed;
}

/**
 * In what list and database differ; undefined where they do not. What one of them lacks a start takes from the other; one that
 * is carried out only in the database is listed before that.
 */
export async function disagreement(
  { dataDir, disk }: Pick<ErasingOptions, "dataDir" | "disk">,
  store: Pick<Store, "erasures">,
): Promise<{ readonly severity: "recovers" | "damaged"; readonly failure: Failure } | undefined> {
  // In this order: a relay that runs beside lists an erasure before it marks it as done.
  const done = store.erasures.all("done");
  const listed = await readErasures(disk, pathsOf(dataDir).erasures);
  if (!listed.ok) return undefined;
  const [listedText, doneText] = [listed.value, done].map(
    (erasures) => new Map(erasures.map((erasure) => [erasure.number, toHex(erasuresText([erasure]))])),
  );
  for (const [number, text] of listedText!) {
    if (doneText!.has(number) && doneText!.get(number) !== text)
      return { severity: "damaged", ...fail("ERASURES_CORRUPT", `erasure ${number} is another one in the database`) };
    if (!store.erasures.has(number))
      return { severity: "recovers", ...fail("ERASURE_UNFINISHED", `the database does not know of erasure ${number}`) };
  }
  const lost = done.find(({ number }) => !listedText!.has(number));
  return (
    lost && { severity: "recovers", ...fail("ERASURE_UNFINISHED", `erasure ${lost.number} is not listed any more`) }
  );
}

/** How entries leave the log's files: through a log that is open, or without one. */
export type EraseFromLog = (
  records: readonly ErasedRecord[],
  remember: () => Promise<Result<true>>,
) => Promise<Result<true>>;

/** In a folder on which no relay runs. */
export function eraseFromFiles(
  { dataDir, disk }: Pick<ErasingOptions, "dataDir" | "disk">,
  erased: ErasedEntries,
): EraseFromLog {
  return (records, remember) => eraseEntries({ disk, folder: pathsOf(dataDir).logPublic }, erased, records, remember);
}

/** Steps 1 to 6 of all that is decided; how many erasures it were. ERASURE_UNFINISHED where it is to be done again. */
export async function finishErasures(options: ErasingOptions, erase: EraseFromLog): Promise<Result<number>> {
  const { dataDir, store, disk, nowMs } = options;
  const unfinished: readonly Erasure[] = store.erasures.all("unfinished");
  if (unfinished.length === 0) return ok(0);
  const { erasures: list } = pathsOf(dataDir);
  const erased = await erase(
    unfinished.flatMap(({ records }) => records),
    async () => {
      const listed = await readErasures(disk, list);
      if (!listed.ok) return listed;
      await writeErasures(disk, list, uniteErasures(listed.value, unfinished));
      return ok(true);
    },
  );
  if (!erased.ok) return erased;
  store.transaction(() => store.erasures.blank(unfinished));
  if (!store.erasures.compact())
    return fail("ERASURE_UNFINISHED", "another process reads the database, whose write-ahead log still has the bytes");
  store.transaction(() => store.erasures.finished(unfinished, nowMs()));
  return ok(unfinished.length);
}

/** Between two looks at what was decided. */
const LOOK_MS = 1000;

export interface ErasingWorkOptions extends ErasingOptions {
  readonly erase: EraseFromLog;
  readonly logger: Logger;
  /** Something was thrown: answers what it shows of damage. */
  readonly onFault: (error: unknown) => Failure | undefined;
}

/** Carries out decisions while a relay runs. */
export class Erasing {
  /** Why the last decision is not carried out; undefined where none waits. */
  failure: Failure | undefined;
  readonly #options: ErasingWorkOptions;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ErasingWorkOptions) {
    this.#options = options;
  }

  /** Begins to look at its own pace. */
  start(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.round().finally(() => this.start()), LOOK_MS);
    this.#timer.unref();
  }

  /** Carries out what is decided now. Never throws. */
  round(): Promise<void> {
    this.#round = this.#round.then(() => this.#run());
    return this.#round;
  }

  async #run(): Promise<void> {
    const { store, erase, logger, onFault } = this.#options;
    if (this.#closed) return;
    try {
      if (!store.erasures.hasUnfinished) {
        this.failure = undefined;
        return;
      }
      const finished = await finishErasures(this.#options, erase);
      if (finished.ok) logger.warn({ erasures: finished.value }, "bodies erased");
      // Told once while it is the same.
      else if (finished.failure.detail !== this.failure?.detail) logger.error(finished.failure, "erasure waits");
      this.failure = finished.ok ? undefined : finished.failure;
    } catch (error) {
      // A full disk passes, as does a server that is away; what is decided stays so, and is looked at again.
      const passes = isDatabaseError(error) && !isCorruption(error);
      const code = passes ? "STORE_FAILED" : "ERASURE_UNFINISHED";
      const { failure } = fail(code, tellable(error as Error));
      if (passes && failure.detail !== this.failure?.detail) logger.error({ err: error, ...failure }, "erasure waits");
      this.failure = (passes ? undefined : onFault(error)) ?? failure;
    }
  }

  /** Ends the round under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed = true;
    await this.#round;
  }
}
