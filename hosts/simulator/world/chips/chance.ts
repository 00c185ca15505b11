/**
 * Randomness of chips as a pure function of what it belongs to (seed, time, channel): no state, so rewinding a world
 * or asking twice changes nothing. Only integer operations, so that every machine draws the same.
 */

/** 32 bits out of 32-bit words, each of them spread by MurmurHash3's finaliser. */
export function hash32(...words: number[]): number {
  let h = 0x9e3779b9;
  for (const word of words) {
    h = Math.imul(h ^ (word | 0), 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

/** 0 ≤ x < 1 for a seed, a time in milliseconds and a channel. */
export function uniform(seed: number, ms: number, channel: number): number {
  return hash32(seed, ms, Math.floor(ms / 0x100000000), channel) / 0x100000000;
}

/** Mean 0, standard deviation 1: the sum of twelve uniforms, whose tails end at ±6. */
export function gaussian(seed: number, ms: number, channel: number): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += uniform(seed, ms, channel * 16 + i);
  return sum;
}
