import type { Platform } from "tallystick/device/platform";

/** What a maker writes. */
export default (platform: Platform) => ({
  start() {
    platform.print("started");
  },
});
