import type { I2C, I2CConstructor, I2COptions, Sample, Sensor } from "tallystick/sensors/sensor";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import type { Conditions } from "../../hosts/simulator/world/surroundings.js";

/** A workbench: one clock that a test moves, air that a test sets, and an I²C bus with chips on it. */
export class Bench {
  nowMs = 1_700_000_000_000;
  air: Conditions = { temperatureC: 21.5, humidityPercent: 45, pressurePa: 101325 };
  readonly chips = new Map<number, I2CChip>();
  readonly chipOptions = {
    surroundings: { at: () => this.air },
    nowMs: () => this.nowMs,
    seed: 7,
    noise: false,
  };

  attach<T extends I2CChip>(chip: T): T {
    this.chips.set(chip.address, chip);
    return chip;
  }

  /** The I2C class of a host, over this bench's bus. */
  get io(): I2CConstructor {
    const { chips } = this;
    return class implements I2C {
      readonly #address: number;
      constructor(options: Omit<I2COptions, "io">) {
        this.#address = options.address!;
      }
      write(bytes: ArrayBuffer | Uint8Array): void {
        if (!chips.get(this.#address)?.write(new Uint8Array(bytes))) throw new Error("no acknowledge");
      }
      read(byteLength: number | ArrayBuffer | Uint8Array): ArrayBuffer {
        const bytes = chips.get(this.#address)?.read(byteLength as number);
        if (!bytes) throw new Error("no acknowledge");
        return Uint8Array.from(bytes).buffer;
      }
      close(): void {}
    };
  }

  /** One sample as the sampler takes it; at most `steps` looks. */
  take(sensor: Sensor, steps = 8): Sample {
    sensor.trigger?.();
    for (let i = 0; i < steps; i++) {
      this.nowMs += sensor.conversionMs ?? 0;
      const sample = sensor.sample();
      if (sample) return sample;
    }
    throw new Error(`no sample after ${steps} looks`);
  }
}
