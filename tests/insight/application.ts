import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** A device as most are: a sample a minute, all that a data sheet knows watched by default. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "attic",
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 60_000 }],
    maxAgeMs: 90_000,
    pollMs: 120_000,
  });
