import type { Logger } from "pino";
import type { Failure } from "tallystick/codes/codes";
import type { Crypto } from "tallystick/identity/crypto";
import { TILE_WIDTH } from "tallystick/log/tile";
import { pathsOf } from "./folder.js";
import { nodeDisk } from "./log/disk.js";
import type { ErasedEntries } from "./log/erasures.js";
import type { Log } from "./log/log.js";
import { Scrub, type ScrubPart } from "./log/scrub.js";
import { bundlesOf, checkBundle, type Finding } from "./log/tree-check.js";
import { isCorruption, isUnreadable, type Pages, pagesDamaged, tellable } from "./store/database.js";
import { PageCheck } from "./store/pages.js";
import { StoredRows } from "./store/rows.js";
import { nameOfStore } from "./store/sql.js";
import type { Store } from "./store/store.js";

export { SCRUB_PERIOD_MS } from "./log/scrub.js";

/** The rolling scrub of a running relay: its log's files, what its database says of them, and the database's rows. */
export interface ScrubbingOptions {
  readonly dataDir: string;
  readonly store: Store;
  readonly log: Log;
  readonly erased: ErasedEntries;
  /** Of SQLite's file: whether its pages were looked at by this start, or are to be first of all. */
  readonly pages: Pages;
  readonly crypto: Crypto;
  readonly periodMs: number;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly logger: Logger;
  /** The database is damaged: nothing can be promised any more. */
  readonly onStoreDamage: (failure: Failure) => void;
}

export function openScrub(options: ScrubbingOptions): Promise<Scrub> {
  const { dataDir, store, log, erased, crypto, periodMs, nowMs, logger, onStoreDamage } = options;
  const rows = new StoredRows(store.database, crypto);
  const { logPublic, scrub } = pathsOf(dataDir);
  const logPart: ScrubPart = {
    name: "log",
    units: () => bundlesOf(log.head.size),
    async check(bundle) {
      const { findings, ids } = await checkBundle(
        { disk: nodeDisk, sha256: crypto.sha256, folder: logPublic, erased },
        log.head,
        bundle,
      );
      if (ids) return guarded(options, "records", () => rows.checkLogged(bundle * TILE_WIDTH, ids, rows.told()));
      // The one that is being carried out just now is none.
      const isUnfinished = ({ code }: Finding): boolean => code === "ERASURE_UNFINISHED";
      if (!findings.some(isUnfinished)) return findings;
      return guarded(options, "erasures", () =>
        store.erasures.hasUnfinished ? findings.filter((finding) => !isUnfinished(finding)) : findings,
      );
    },
  };
  const rowParts = rows.parts.map(
    ({ name, pages, check }): ScrubPart => ({
      name,
      units: () => countable(pages),
      check: async (page) => guarded(options, name, () => check(page)),
    }),
  );
  return Scrub.open({
    parts: [logPart, ...(store.database.dialect === "postgres" ? [] : [pagesPart(options)]), ...rowParts],
    disk: nodeDisk,
    path: scrub,
    periodMs,
    nowMs,
    onFinding: (finding, part) => {
      const failure = failureOf(finding);
      logger.error({ ...failure, part }, "scrub found damage");
      if (failure.code.startsWith("STORE_")) onStoreDamage(failure);
    },
    onPass: ({ units, startedMs }) => logger.info({ units, since: new Date(startedMs).toISOString() }, "scrubbed"),
    onFault: (error) => logger.warn({ err: error }, "scrub waits"),
  });
}

/** The database's pages, all in one unit. */
function pagesPart({ dataDir, store, pages, logger }: ScrubbingOptions): ScrubPart {
  const path = pathsOf(dataDir).store;
  const check = new PageCheck(path);
  return {
    name: "pages",
    units: () => 1,
    isDue: pages === "trusted",
    async check() {
      const beginMs = performance.now();
      const found = await check.run();
      if (found !== undefined) return [{ ...pagesDamaged(path, found).failure, where: nameOfStore(store.database) }];
      logger.info({ ms: Math.round(performance.now() - beginMs) }, "pages looked at");
      return [];
    },
    stop: () => check.stop(),
  };
}

/** A table that cannot even be counted has a first page, whose check says so. */
function countable(pages: () => number): number {
  try {
    return pages();
  } catch (error) {
    if (!isCorruption(error) && !isUnreadable(error)) throw error;
    return 1;
  }
}

/** A page that the database itself finds damaged, or that the medium does not give back, is a finding, too. */
function guarded(
  { store }: Pick<ScrubbingOptions, "store">,
  table: string,
  check: () => readonly Finding[],
): readonly Finding[] {
  try {
    return check();
  } catch (error) {
    if (!isCorruption(error) && !isUnreadable(error)) throw error;
    return [
      { code: "STORE_CORRUPT", where: `${nameOfStore(store.database)} ${table}`, detail: tellable(error as Error) },
    ];
  }
}

/** What a scrub has found that is still so; undefined where nothing is. */
export function damageFound(scrub: Scrub): Failure | undefined {
  const [finding] = scrub.findings;
  return finding && failureOf(finding);
}

function failureOf({ code, where, detail }: Finding): Failure {
  return { code, detail: `${where}: ${detail}` };
}
