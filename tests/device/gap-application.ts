import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** A device that would rather lose old records by name than new ones, and samples less while its flash fills. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "cellar",
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 2000 }],
    maxAgeMs: 30_000,
    pollMs: 20_000,
    whenFilling: "thin",
    whenFull: "gap",
  });
