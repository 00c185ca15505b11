/**
 * What flash encryption does to programs and cuts, without its secrecy: each 16-byte block is a keyed permutation of its
 * plaintext and its address, so one changed cell garbles its whole block, and erased cells read as garbage. Three ARX
 * rounds over four words, undone in the other direction.
 */
export const BLOCK_BYTES = 16;
const ROUNDS = 3;

/** Replaces the block at `at` of `bytes` by its ciphertext for the block address `block`. */
export function encipher(bytes: Uint8Array, at: number, block: number, key: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK_BYTES);
  let a = view.getUint32(0);
  let b = view.getUint32(4);
  let c = view.getUint32(8);
  let d = view.getUint32(12);
  for (let round = 0; round < ROUNDS; round++) {
    a = (a ^ Math.imul(block + 1, 0x9e3779b1)) | 0;
    c = (c ^ (key + round)) | 0;
    a = (a + b) | 0;
    d = rotate(d ^ a, 16);
    c = (c + d) | 0;
    b = rotate(b ^ c, 12);
    a = (a + b) | 0;
    d = rotate(d ^ a, 8);
    c = (c + d) | 0;
    b = rotate(b ^ c, 7);
  }
  view.setUint32(0, a);
  view.setUint32(4, b);
  view.setUint32(8, c);
  view.setUint32(12, d);
}

/** The other direction. */
export function decipher(bytes: Uint8Array, at: number, block: number, key: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, BLOCK_BYTES);
  let a = view.getUint32(0);
  let b = view.getUint32(4);
  let c = view.getUint32(8);
  let d = view.getUint32(12);
  for (let round = ROUNDS - 1; round >= 0; round--) {
    b = rotate(b, 25) ^ c;
    c = (c - d) | 0;
    d = rotate(d, 24) ^ a;
    a = (a - b) | 0;
    b = rotate(b, 20) ^ c;
    c = (c - d) | 0;
    d = rotate(d, 16) ^ a;
    a = (a - b) | 0;
    c = (c ^ (key + round)) | 0;
    a = (a ^ Math.imul(block + 1, 0x9e3779b1)) | 0;
  }
  view.setUint32(0, a);
  view.setUint32(4, b);
  view.setUint32(8, c);
  view.setUint32(12, d);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
