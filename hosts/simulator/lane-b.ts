import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Board, type BoardEnd, type BoardStats, type Creation, type Image, type LoadedEngine } from "./board.js";
import { buildImage, type ModuleSource, modulesOf } from "./image.js";
import type { Instance, Lane } from "./lane.js";

const BOARD = fileURLToPath(new URL("../board/", import.meta.url));
const MODULES = fileURLToPath(new URL("../../modules/", import.meta.url));
const MAIN = "tallystick/board/main";

/** The specifiers that hosts/board/embedded answers to: those of the SDK that a simulated board has. */
const EMBEDDED: Readonly<Record<string, string>> = {
  "embedded:io/analog": "io/analog.ts",
  "embedded:io/digital": "io/digital.ts",
  "embedded:io/i2c": "io/i2c.ts",
  "embedded:io/smbus": "io/smbus.ts",
  "embedded:provider/builtin": "provider/builtin.ts",
  "embedded:storage/flash": "storage/flash.ts",
  "embedded:storage/key-value": "storage/key-value.ts",
  timer: "timer.ts",
};

/** An end that the engine itself found: out of memory, an uncaught exception, … with place and peak figures. */
export class BoardCrash extends Error {
  override name = "BoardCrash";
  constructor(readonly end: BoardEnd) {
    super(end.message);
  }
}

/** A board of lane B, running: also tells what the engine counts. */
export interface XSInstance extends Instance {
  stats(): BoardStats;
}

/** The modules of a simulated board: the portable ones, hosts/board and what it stands for in the SDK. */
export function boardModules(): ModuleSource[] {
  const embedded = Object.entries(EMBEDDED).map(([name, file]) => ({ name, path: `${BOARD}embedded/${file}` }));
  const board = modulesOf(BOARD, "tallystick/board").filter(
    ({ name }) => !name.startsWith("tallystick/board/embedded/"),
  );
  return [...modulesOf(), ...board, ...embedded];
}

/**
 * The image of one application: `application` becomes the module of that name, `others` what it imports beside the
 * project's own modules.
 */
export function buildBoardImage(
  engine: LoadedEngine,
  application: string,
  others: readonly ModuleSource[] = [],
): Promise<Image> {
  const modules = [...boardModules(), { name: "application", path: application }, ...others];
  return buildImage({ engine, modules, roots: [MAIN, ...Object.keys(EMBEDDED)], preload: preloaded() });
}

/** What the manifests preload on an ESP32, and hosts/board but for what calls the wire when it is evaluated. */
function preloaded(): string[] {
  const own = modulesOf(BOARD, "tallystick/board").map(({ name }) => name);
  const names = own.filter(
    (name) => name !== MAIN && name !== "tallystick/board/native" && !name.includes("/embedded/"),
  );
  for (const folder of readdirSync(MODULES).sort()) {
    const manifest = `${MODULES}${folder}/manifest.json`;
    if (!existsSync(manifest)) continue;
    const { preload = [] } = JSON.parse(readFileSync(manifest, "utf8")) as { preload?: string[] };
    names.push(...preload);
  }
  return names;
}

/** Lane B: the same on real XS, one WebAssembly instance a start, in a machine of an ESP32's figures. */
export function laneB(engine: LoadedEngine, image: Image, creation: Partial<Creation> = {}): Lane {
  return {
    name: "xs",
    async boot(call): Promise<XSInstance> {
      const board = new Board({ engine, image, world: { call }, main: MAIN, creation });
      board.start();
      checkEnd(board);
      return {
        async event(bytes) {
          board.event(bytes);
          checkEnd(board);
        },
        // Nothing runs in an instance but what an event runs: without events it is gone.
        discard() {},
        stats: () => board.stats(),
      };
    },
  };
}

function checkEnd(board: Board): void {
  if (board.end !== undefined) throw new BoardCrash(board.end);
}

/** SHA-256 of an image: what a board's genesis and boot records say of the firmware that runs. Built from the same sources, the same bytes. */
export function firmwareHash(image: Image): Uint8Array {
  return new Uint8Array(createHash("sha256").update(image.memory).digest());
}
