import { FuseError, type Fuses } from "tallystick/identity/seeds";

/** Bits that count generations: what efuse.c sets aside for it. */
const GENERATIONS_MAX = 8;

/** What the C beside this file provides. Each throws on chips without the HMAC peripheral, but for the first. */
const efuse = Object.freeze({
  /** Whether a key block is burned for HMACs that software gets, cannot be read, and holds something. */
  hasKey(): boolean {
    return native("xs_tallystick_efuse_has_key").call(this);
  },
  /** The burned bits, the lowest for generation 1. */
  read(): number {
    return native("xs_tallystick_efuse_read").call(this);
  },
  /** Durable when it returns; throws where the bit does not read back. */
  burn(bit: number): undefined {
    return native("xs_tallystick_efuse_burn").call(this, bit);
  },
  /** HMAC-SHA256 of at most 64 bytes under the key block: 32 bytes. */
  hmac(message: Uint8Array): ArrayBuffer {
    return native("xs_tallystick_efuse_hmac").call(this, message);
  },
});

/** The chip's fuses as the modules see them; undefined where they hold no key. */
export function openFuses(): Fuses | undefined {
  if (!efuse.hasKey()) return undefined;
  return {
    generationsMax: GENERATIONS_MAX,
    generation: () => 32 - Math.clz32(efuse.read()),
    burn(generation) {
      try {
        efuse.burn(generation - 1);
      } catch (error) {
        const reason = error instanceof Error ? error.message : "refused";
        throw new FuseError("KEY_FUSES_FAILED", `fuse ${generation - 1}: ${reason}`);
      }
    },
    hmac: (message) => new Uint8Array(efuse.hmac(message)),
  };
}
