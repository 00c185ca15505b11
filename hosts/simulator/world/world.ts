import { I2CBus } from "./bus.js";
import type { EFuses } from "./efuse.js";
import type { EntropySource } from "./entropy.js";
import type { KeyCells } from "./keys.js";
import type { Network } from "./network.js";
import { Pins } from "./pins.js";
import { Power } from "./power.js";
import type { Time } from "./time.js";

/** The cells of one flash partition. Programming clears bits only; a fault of the chip throws FlashError. */
export interface FlashCells {
  readonly sizeBytes: number;
  readonly sectorBytes: number;
  /** 1, or the unit of an encrypted partition. */
  readonly writeUnitBytes: number;
  read(offset: number, length: number): Uint8Array;
  program(offset: number, bytes: Uint8Array): void;
  erase(sector: number): void;
}

/** Cells that know what a cut in the middle of an operation leaves. Without it a cut operation leaves nothing done. */
export interface TearableCells extends FlashCells {
  programTorn(offset: number, bytes: Uint8Array): void;
  eraseTorn(sector: number): void;
}

export interface WorldOptions {
  /** What the device's genesis record says it runs on. */
  readonly model: string;
  readonly firmware: { readonly version: string; readonly sha256: Uint8Array };
  /** What the chip calls itself, 4 to 16 bytes; default a MAC address that no manufacturer gives. */
  readonly chip?: Uint8Array;
  readonly time: Time;
  /** By partition label, 1 to 15 ASCII characters; at most 8. */
  readonly flash: Readonly<Record<string, FlashCells>>;
  readonly keys: KeyCells;
  readonly entropy: EntropySource;
  /** Of a chip whose key block was burned; without them the board's seeds are kept in its key store. */
  readonly fuses?: EFuses;
  /** By number; a bus that is not here is absent. */
  readonly i2c?: readonly I2CBus[];
  readonly pins?: Pins;
  /** Without one, every request is refused as unavailable. */
  readonly network?: Network;
  /** Between a request and its answer, at the least; in virtual time the only time that it takes. Default 0. */
  readonly latencyMs?: number;
  /** Wall time at the board against the world's: how far its clock runs fast. Default 0. */
  readonly driftPpm?: number;
}

export const PARTITIONS_MAX = 8;

/** Everything outside of one board that outlives its starts. */
export class World {
  readonly model: string;
  readonly firmware: { readonly version: string; readonly sha256: Uint8Array };
  readonly chip: Uint8Array;
  readonly time: Time;
  readonly partitions: readonly { readonly label: string; readonly cells: FlashCells }[];
  readonly keys: KeyCells;
  readonly entropy: EntropySource;
  readonly fuses: EFuses | undefined;
  readonly i2c: readonly I2CBus[];
  readonly pins: Pins;
  readonly network: Network | undefined;
  readonly latencyMs: number;
  readonly driftPpm: number;
  readonly power = new Power();
  /** The board's clock, while it has power: set at which world time, to which wall time. */
  clock: { readonly setAtMs: number; readonly wallMs: number } | undefined;

  constructor(options: WorldOptions) {
    const labels = Object.keys(options.flash);
    if (labels.length > PARTITIONS_MAX)
      throw new RangeError(`flash: expected at most ${PARTITIONS_MAX} partitions, got ${labels.length}`);
    if (options.firmware.sha256.length !== 32)
      throw new RangeError(`firmware.sha256: expected 32 bytes, got ${options.firmware.sha256.length}`);
    this.model = options.model;
    this.firmware = options.firmware;
    this.chip = options.chip ?? Uint8Array.of(0x02, 0x54, 0x41, 0x4c, 0x59, 0x01);
    this.time = options.time;
    this.partitions = labels.map((label) => ({ label, cells: options.flash[label]! }));
    this.keys = options.keys;
    this.entropy = options.entropy;
    this.fuses = options.fuses;
    this.i2c = options.i2c ?? [new I2CBus()];
    this.pins = options.pins ?? new Pins();
    this.network = options.network;
    this.latencyMs = options.latencyMs ?? 0;
    this.driftPpm = options.driftPpm ?? 0;
  }

  /** The board's wall time, or undefined where its clock was not set since it last had no power. */
  boardWallMs(): number | undefined {
    if (this.clock === undefined) return undefined;
    const passedMs = this.time.nowMs() - this.clock.setAtMs;
    return Math.round(this.clock.wallMs + passedMs * (1 + this.driftPpm / 1e6));
  }
}
