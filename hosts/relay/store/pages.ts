import { type ChildProcess, execFile } from "node:child_process";
import { statSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";

/**
 * SQLite's own look at every page of its file (`quick_check`): the trees that rows are found by, which reading rows one
 * after the other does not show. It takes a second for some 60 MB, and nothing else goes on meanwhile in the process that
 * asks: of a large file it is asked for in a process of its own, which can be ended at any moment, as a thread within
 * SQLite cannot.
 */

/** Of a larger file the look can wait at a start. */
export const PAGES_AT_ONCE_MAX_BYTES = 64 * 1024 * 1024;

/** Characters that are told of what the process said and should not have. */
const SAID_MAX = 200;

/** What the process writes. Neither: every page is as it should be. */
interface PagesVerdict {
  /** What SQLite finds wrong. */
  readonly damage?: string;
  /** Why it could not look. */
  readonly failure?: string;
}

const PROGRAM = fileURLToPath(new URL("./pages-process.mjs", import.meta.url));

/**
 * Whether a start may leave the look for later: the file is large, and was closed in order. Where the power failed, or the
 * process was killed, SQLite's write-ahead log is left behind, and the disk may not have kept what it said it had.
 */
export function pagesCanWait(path: string): boolean {
  const bytesOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return bytesOf(`${path}-wal`) === 0 && bytesOf(path) > PAGES_AT_ONCE_MAX_BYTES;
}

/** What is thrown where nobody waits for it would end the relay. */
function verdictOf(output: string): PagesVerdict {
  try {
    return JSON.parse(output) as PagesVerdict;
  } catch {
    return { failure: `its process said ${JSON.stringify(output.slice(0, SAID_MAX))}` };
  }
}

export class PageCheck {
  readonly #path: string;
  #child: ChildProcess | undefined;
  #found: string | undefined;

  /** Of the database at `path`, which somebody may be writing. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * What SQLite finds wrong; undefined where that is nothing. What was found once stays: a file that is mended is another
   * one. Rejects where it could not look, and where it was stopped.
   */
  async run(): Promise<string | undefined> {
    this.#found ??= await this.#look();
    return this.#found;
  }

  /** Ends the look under way. */
  stop(): void {
    this.#child?.kill("SIGKILL");
  }

  #look(): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const child = execFile(process.execPath, [PROGRAM, this.#path], (error, output) => {
        this.#child = undefined;
        if (error) return reject(error);
        const { damage, failure } = verdictOf(output);
        if (failure === undefined) resolve(damage);
        else reject(new Error(`the pages of ${this.#path} cannot be looked at: ${failure}`));
      });
      this.#child = child;
      try {
        // Whoever waits for the relay comes first.
        if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
      } catch {
        // It has ended already, or the system does not let it.
      }
    });
  }
}
