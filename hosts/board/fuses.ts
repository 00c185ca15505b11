import { FuseError, type Fuses } from "tallystick/identity/seeds";
import { Status, WireFault, type WirePort } from "./wire.js";

/** The chip's fuses as the modules see them; undefined where they hold no key. */
export function boardFuses(port: WirePort): Fuses | undefined {
  const present = port.fuseRead();
  if (present === undefined) return undefined;
  return {
    generationsMax: present.count,
    generation: () => 32 - Math.clz32(port.fuseRead()!.bits),
    burn(generation) {
      try {
        port.fuseBurn(generation - 1);
      } catch (error) {
        if (error instanceof WireFault && error.status === Status.fault)
          throw new FuseError("KEY_FUSES_FAILED", `fuse ${generation - 1}: ${error.detail}`);
        throw error;
      }
    },
    hmac: (message) => port.fuseHmac(message),
  };
}
