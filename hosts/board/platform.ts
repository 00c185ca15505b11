import type { Platform } from "tallystick/device/platform";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { eitherSeeds, fusedSeeds, storedSeeds } from "tallystick/identity/seeds";
import type { Board } from "./board.js";
import { BoardClock } from "./clock.js";
import { BoardFlash } from "./flash.js";
import { boardFuses } from "./fuses.js";
import { BoardKeyStore } from "./key-value.js";

/** Label of the partition that holds the journal, and domain of the key store. */
export const JOURNAL_PARTITION = "chain";
export const KEY_DOMAIN = "tallystick";

/** What a simulated board can do beyond a device's needs. Neither call returns. */
export interface BoardPlatform extends Platform {
  restart(): never;
  /** Deep sleep: the start ends, and the next comes after `durationMs`. */
  sleep(durationMs: number): never;
}

/** What a simulated board provides to a device. Throws where the world has no journal partition. */
export function createPlatform(board: Board, crypto: Crypto): BoardPlatform {
  const { port } = board;
  const boot = port.boot();
  const entropy: Entropy = { bytes: (length) => port.entropy(length) };
  const fuses = boardFuses(port);
  return {
    model: boot.model,
    firmware: { version: boot.version, sha256: boot.sha256 },
    chip: boot.chip,
    resetReason: boot.resetReason,
    flash: new BoardFlash(port, JOURNAL_PARTITION),
    keys: new BoardKeyStore(port, KEY_DOMAIN),
    entropy,
    // A board that has stored a seed before its fuses held a key goes on with that one.
    ...(fuses && { seeds: eitherSeeds(fusedSeeds(fuses), storedSeeds(entropy)) }),
    crypto,
    clock: new BoardClock(port),
    timers: board.timers,
    transport: board.transport,
    i2c: { io: board.I2C, bus: 0, hz: 400_000 },
    print: (line) => port.print(line),
    restart: () => port.restart(),
    sleep: (durationMs) => port.sleep(durationMs),
  };
}
