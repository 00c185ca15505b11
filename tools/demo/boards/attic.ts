import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** Temperature, humidity and pressure under the roof, one signed record every few seconds. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "attic",
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 1000 }],
    maxAgeMs: 3000,
    pollMs: 1000,
  });
