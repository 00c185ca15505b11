import type { Clock, Timers } from "../clock/clock.js";
import type { Crypto, Entropy, KeyStore } from "../identity/crypto.js";
import type { SeedSource } from "../identity/seeds.js";
import type { Flash } from "../journal/flash.js";
import type { I2COptions } from "../sensors/sensor.js";
import type { Transport } from "../sync/transport.js";

/** What a host provides to a device: everything outside of the modules, handed in once. */
export interface Platform {
  /** What the device runs on, as its genesis record says: `simulator`, `esp32/esp32c3`, … */
  readonly model: string;
  /** Version and SHA-256 (32 bytes) of the firmware that runs. */
  readonly firmware: { readonly version: string; readonly sha256: Uint8Array };
  /** What the chip calls itself, 4 to 16 bytes, where it has a name: a maker's statement is about it. */
  readonly chip?: Uint8Array;
  /** Why this start happened, by the numbers of record/SPEC.md's boot record. */
  readonly resetReason: number;
  readonly flash: Flash;
  readonly keys: KeyStore;
  readonly entropy: Entropy;
  /** Makes the device's seeds, where the chip does; by default they are drawn from `entropy` and kept in `keys`. */
  readonly seeds?: SeedSource;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly transport: Transport;
  readonly i2c: I2COptions;
  /** One line of the device's own log. */
  readonly print: (line: string) => void;
}
