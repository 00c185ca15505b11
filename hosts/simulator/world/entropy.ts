import { createHash, randomBytes } from "node:crypto";

/** Where a world's entropy comes from. `reproducible` is told in the board's log: such keys protect nothing. */
export interface EntropySource {
  readonly reproducible: boolean;
  bytes(length: number): Uint8Array;
}

/** The operating system's generator. */
export const systemEntropy: EntropySource = {
  reproducible: false,
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/** SHA-256 over the seed and a counter: the same bytes in every run. Only for runs that must repeat. */
export function seededEntropy(seed: string): EntropySource {
  let counter = 0;
  let pool = new Uint8Array(0);
  return {
    reproducible: true,
    bytes(length) {
      while (pool.length < length) {
        const block = createHash("sha256").update(`tallystick entropy ${seed} ${counter++}`).digest();
        pool = new Uint8Array([...pool, ...block]);
      }
      const bytes = pool.slice(0, length);
      pool = pool.slice(length);
      return bytes;
    },
  };
}
