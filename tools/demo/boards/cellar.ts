import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { SHT4x } from "tallystick/sensors/sht4x/sht4x";

/** Temperature and humidity in the cellar. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "cellar",
    sensors: [{ sensor: new SHT4x({ sensor: platform.i2c }), everyMs: 1500 }],
    maxAgeMs: 4500,
    pollMs: 1000,
  });
