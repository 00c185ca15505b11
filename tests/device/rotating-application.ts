import { Device } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import { BME280 } from "tallystick/sensors/bme280/bme280";

/** The position from which on the device asks for its next key, once in its life. */
export const ROTATES_AT = 8;
const ASKED_NAME = "asked";

/** A device whose maker lets it change its key, with a mark of the maker's own that it has. */
export default (platform: Platform) => {
  const device: Device = new Device(platform, {
    label: "vault",
    sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 10_000 }],
    maxAgeMs: 15_000,
    pollMs: 20_000,
    onRecord: ({ seq }) => {
      if (seq < ROTATES_AT || platform.keys.read(ASKED_NAME) !== undefined) return;
      // Asked for twice where the power goes in between, which is the same rotation.
      if (device.rotate().ok) platform.keys.write(ASKED_NAME, Uint8Array.of(1));
    },
  });
  return device;
};
