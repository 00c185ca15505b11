import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** The application that the firmware has when no other is named: temperature, humidity and pressure once a minute. */
export default (platform: Platform) =>
  new Device(platform, {
    label: platform.model,
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 60_000 }],
  });
