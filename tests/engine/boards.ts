/** Boards for tests: the engine built once, images by content, a world that keeps what was printed. */
import type { Context } from "mocha";
import { Board, type Creation, type LoadedEngine, loadEngine, type World } from "../../hosts/simulator/board.js";
import { buildImage, type ModuleSource } from "../../hosts/simulator/image.js";
import { ensureEngine } from "../../tools/engine/build.js";

/** Longer than a first build takes on a slow machine. */
const BUILD_TIMEOUT_MS = 600_000;

/** For `before`: the first of all tests builds the engine, which takes up to minutes. */
export async function newEngine(this: Context): Promise<void> {
  this.timeout(BUILD_TIMEOUT_MS);
  loadEngine(await ensureEngine());
}

export async function engine(): Promise<LoadedEngine> {
  return loadEngine(await ensureEngine());
}

export class Printed {
  readonly lines: string[] = [];
}

/** Operation 3 prints; everything else, the clock included, has an empty reply. */
export function printingWorld(printed: Printed): World {
  return {
    call: (operation, bytes) => {
      if (operation === 3) printed.lines.push(new TextDecoder().decode(bytes));
      return undefined;
    },
  };
}

export interface StartOptions {
  readonly modules: readonly ModuleSource[];
  readonly main: string;
  /** Where given, only what these modules reach goes into the image. */
  readonly roots?: readonly string[];
  readonly world: World;
  readonly preload?: readonly string[];
  readonly creation?: Partial<Creation>;
}

/** A board that has run its main module. */
export async function startWith({ modules, main, roots, world, preload, creation }: StartOptions): Promise<Board> {
  const loaded = await engine();
  const image = await buildImage({
    engine: loaded,
    modules,
    ...(roots ? { roots } : {}),
    ...(preload ? { preload } : {}),
  });
  const board = new Board({ engine: loaded, image, world, main, ...(creation ? { creation } : {}) });
  board.start();
  return board;
}
