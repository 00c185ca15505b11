import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { TMP117 } from "tallystick/sensors/tmp117/tmp117";

/** Precise temperature among the plants. */
export default (platform: Platform) =>
  new Device(platform, {
    label: "greenhouse",
    sensors: [{ sensor: new TMP117({ sensor: platform.i2c }), everyMs: 2000 }],
    maxAgeMs: 4000,
    pollMs: 1000,
  });
