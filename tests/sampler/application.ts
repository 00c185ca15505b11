import { toHex } from "tallystick/bytes/bytes";
import { ClockState } from "tallystick/clock/clock";
import type { Platform } from "tallystick/device/platform";
import { Sampler } from "tallystick/sampler/sampler";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { SHT4x } from "tallystick/sensors/sht4x/sht4x";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";

/** Three sensors and the sampler, with nothing behind it: prints every pack. It runs in both lanes. */
export default ({ i2c, clock, timers, print }: Platform) => {
  const sensors = [new BME280({ sensor: i2c }), new SHT4x({ sensor: i2c }), new TMP117({ sensor: i2c })];
  const everyMs = [5000, 7000, 2000];
  const sampler = new Sampler({
    sensors: sensors.map((sensor, i) => ({ sensor, everyMs: everyMs[i]!, name: `s${i}` })),
    clock,
    timers,
    // A board prints lines of at most 1,024 bytes.
    maxReadings: 12,
    maxAgeMs: 30_000,
    onPack: ({ payload, uptimeMs, clock: state }) => print(`${uptimeMs} ${state} ${toHex(payload)}`),
  });
  const setClock = () => {
    clock.set(1_767_225_600_000, ClockState.network);
    for (const { identification } of sensors) print(`${identification.model} ${identification.uniqueID ?? "-"}`);
  };
  return {
    start: () => {
      sampler.start();
      timers.after(60_000, setClock);
    },
  };
};
