import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { KeyStore } from "tallystick/identity/crypto";
import { readToken, writeToken } from "tallystick/sync/enrolment";
import { type RelayPinsText, writeRelayPins } from "tallystick/sync/relay-pins";
import { readSentMark } from "tallystick/sync/sent-mark";
import { KEY_DOMAIN } from "../../hosts/board/platform.js";
import type { Image, LoadedEngine } from "../../hosts/simulator/board.js";
import { buildBoardImage, firmwareHash, laneB } from "../../hosts/simulator/lane-b.js";
import { Simulation } from "../../hosts/simulator/simulation.js";
import { I2CBus } from "../../hosts/simulator/world/bus.js";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import type { ChipOptions } from "../../hosts/simulator/world/chips/chip.js";
import { SHT4xChip } from "../../hosts/simulator/world/chips/sht4x.js";
import { TMP117Chip } from "../../hosts/simulator/world/chips/tmp117.js";
import { systemEntropy } from "../../hosts/simulator/world/entropy.js";
import { openFlashFile } from "../../hosts/simulator/world/flash.js";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import { FileKeys, type KeyCells } from "../../hosts/simulator/world/keys.js";
import { HttpNetwork } from "../../hosts/simulator/world/network.js";
import { WallTime } from "../../hosts/simulator/world/time.js";
import { type Site, weatherAt } from "../../hosts/simulator/world/weather.js";
import { World } from "../../hosts/simulator/world/world.js";
import packageJson from "../../package.json" with { type: "json" };

/** The three boards of the demo: an application each, a chip each, and where they stand. */
export interface DemoBoard {
  readonly label: string;
  readonly sensor: string;
  readonly site: Site;
  readonly chip: (options: ChipOptions) => I2CChip;
}

export const BOARDS: readonly DemoBoard[] = [
  { label: "attic", sensor: "BME280", site: "attic", chip: (options) => new BME280Chip(options) },
  { label: "cellar", sensor: "SHT4x", site: "cellar", chip: (options) => new SHT4xChip(options) },
  { label: "greenhouse", sensor: "TMP117", site: "greenhouse", chip: (options) => new TMP117Chip(options) },
];

/** The journal's partition: as in hosts/esp32/partitions.csv. */
const JOURNAL_BYTES = 512 * 1024;

/** What provisioning writes into a board's key store; each is asked for by a new board alone. */
export interface Provision {
  readonly pins: () => Promise<RelayPinsText>;
  /** An enrolment token. */
  readonly token: () => Uint8Array;
}

export interface BoardOptions {
  readonly board: DemoBoard;
  readonly engine: LoadedEngine;
  readonly image: Image;
  /** Of this board alone: its flash and its key store. */
  readonly folder: string;
  readonly relayUrl: string;
  readonly onPrint: (line: string) => void;
  /** `forGood` where it crashed too often and stays off. */
  readonly onCrash: (what: string, forGood: boolean) => void;
}

/** A booted memory image of the board's application, from the cache where it is there. */
export function boardImage(engine: LoadedEngine, { label }: DemoBoard): Promise<Image> {
  return buildBoardImage(engine, fileURLToPath(new URL(`boards/${label}.ts`, import.meta.url)));
}

/** The key store of the board whose folder this is. */
export function boardKeys(folder: string): KeyStore {
  return keyStoreOf(openCells(folder));
}

/**
 * What a person does once with a new board: tells it of its relay and leaves it a token; true. Another board stays as it
 * is; false.
 */
export async function provision(folder: string, { pins, token }: Provision): Promise<boolean> {
  mkdirSync(folder, { recursive: true });
  const keys = boardKeys(folder);
  const sent = readSentMark(keys);
  const known =
    keys.read("seed") !== undefined || readToken(keys) !== undefined || (sent.ok && sent.value !== undefined);
  if (known) return false;
  // Both are there before anything is written.
  const leave = token();
  writeRelayPins(keys, await pins());
  writeToken(keys, leave);
  return true;
}

/** Makes a board on its own flash and key files, and turns it on. */
export async function startBoard(options: BoardOptions): Promise<Simulation> {
  const { board, engine, image, relayUrl, folder } = options;
  const cells = openCells(folder);
  const time = new WallTime();
  const seed = BOARDS.indexOf(board) + 1;
  const chip = board.chip({ surroundings: weatherAt(board.site), nowMs: () => time.nowMs(), seed });
  const world = new World({
    model: "simulator",
    firmware: { version: packageJson.version, sha256: firmwareHash(image) },
    time,
    flash: { chain: openFlashFile(join(folder, "flash.bin"), { sizeBytes: JOURNAL_BYTES }) },
    keys: cells,
    entropy: systemEntropy,
    i2c: [new I2CBus([chip])],
    network: new HttpNetwork({ origin: relayUrl }),
  });
  const simulation: Simulation = new Simulation({
    world,
    lane: laneB(engine, image),
    onPrint: options.onPrint,
    onEnd: (end) => {
      if (end.kind !== "crash") return;
      const what = end.error instanceof Error ? end.error.message : String(end.error);
      options.onCrash(what, simulation.state === "halted");
    },
  });
  await simulation.powerOn();
  return simulation;
}

function openCells(folder: string): FileKeys {
  return new FileKeys(join(folder, "keys.json"));
}

function keyStoreOf(cells: KeyCells): KeyStore {
  return {
    read: (name) => cells.read(KEY_DOMAIN, name),
    write: (name, value) => cells.write(KEY_DOMAIN, name, value),
    delete: (name) => cells.delete(KEY_DOMAIN, name),
  };
}
