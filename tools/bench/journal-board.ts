import { fileURLToPath } from "node:url";
import { Journal } from "tallystick/journal/journal";
import { Board, ESP32_C3, type Image, type LoadedEngine, loadEngine, type World } from "../../hosts/simulator/board.js";
import { buildImage, modulesOf } from "../../hosts/simulator/image.js";
import { type FlashSnapshot, NorFlash } from "../../hosts/simulator/world/nor.js";
import { ensureEngine } from "../engine/build.js";

/** What a board needs for the journal, found by giving it less until it does not run. */
export interface BoardMemory {
  /** More than a board needs that has all modules loaded and idles: of the block of chunks, slots and stack. */
  readonly mountBytes: number;
  /** The same for a mount and then commits, reads and releases over several sectors. */
  readonly commitBytes: number;
  /** The most of the JavaScript stack that was in use, in slots. */
  readonly stackPeakSlots: number;
}

const SECTORS = 64;
/** Records that the board commits: more than two sectors of them. */
const COMMITS = 60;
/** How closely the least block is found. */
const STEP_BYTES = 16;
const MOUNT = 1;
const IDLE = 0;

/** As tools/bench/journal-on-board.ts has them. */
const Operation = { read: 20, write: 21, erase: 22 } as const;

export async function measureOnBoard(writeUnitBytes: 1 | 16 | 32): Promise<BoardMemory> {
  const engine = loadEngine(await ensureEngine());
  const own = modulesOf();
  const path = fileURLToPath(new URL("journal-on-board.ts", import.meta.url));
  // All that the manifests preload on a board: the portable modules. What the bench adds is loaded by the device.
  const image = await buildImage({
    engine,
    modules: [...own, { name: "bench", path }],
    roots: ["bench"],
    preload: own.map(({ name }) => name),
  });
  const flash = new NorFlash({ sizeBytes: SECTORS * 4096, writeUnitBytes });
  if (!Journal.format(flash).ok) throw new Error("the partition could not be formatted");
  const blank = flash.snapshot();
  // The cells after a board's records, so that the mount has something to find.
  const filled = run({ engine, image, flash, from: blank, event: eventOf(MOUNT, flash, COMMITS) });
  if (filled === undefined) throw new Error("the journal does not run in the block of an ESP32-C3");
  const written = flash.snapshot();
  const least = (event: Uint8Array): number => {
    let [low, high] = [0, ESP32_C3.staticBytes / STEP_BYTES];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const staticBytes = middle * STEP_BYTES;
      if (run({ engine, image, flash, from: written, event, staticBytes }) !== undefined) high = middle;
      else low = middle + 1;
    }
    return low * STEP_BYTES;
  };
  const idle = least(eventOf(IDLE, flash, 0));
  return {
    mountBytes: least(eventOf(MOUNT, flash, 0)) - idle,
    commitBytes: least(eventOf(MOUNT, flash, COMMITS)) - idle,
    stackPeakSlots: filled,
  };
}

function eventOf(what: number, flash: NorFlash, count: number): Uint8Array {
  const bytes = new Uint8Array(13);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, what);
  view.setUint32(1, flash.sizeBytes);
  view.setUint32(5, flash.writeUnitBytes);
  view.setUint32(9, count);
  return bytes;
}

interface Trial {
  readonly engine: LoadedEngine;
  readonly image: Image;
  readonly flash: NorFlash;
  readonly from: FlashSnapshot;
  readonly event: Uint8Array;
  readonly staticBytes?: number;
}

/** The stack's peak in slots; undefined where the block was too small. */
function run({ engine, image, flash, from, event, staticBytes = ESP32_C3.staticBytes }: Trial): number | undefined {
  flash.restore(from);
  const world: World = {
    call: (operation, bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (operation === Operation.read) return flash.read(view.getUint32(0), view.getUint32(4));
      if (operation === Operation.write) flash.write(view.getUint32(0), bytes.slice(4));
      if (operation === Operation.erase) flash.erase(view.getUint32(0));
      return undefined;
    },
  };
  const board = new Board({ engine, image, world, main: "bench", creation: { staticBytes } });
  if (board.start()) board.event(event);
  const { end } = board;
  if (end === undefined) return board.stats().stackPeakSlots;
  // A block that is too small shows in many ways; anything else at full size is a fault of the bench.
  if (staticBytes === ESP32_C3.staticBytes) throw new Error(end.message);
  return undefined;
}
