import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** A whole device as a maker writes it. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "attic",
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 10_000 }],
    maxAgeMs: 30_000,
    pollMs: 20_000,
  });
