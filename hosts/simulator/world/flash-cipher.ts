/**
 * What flash encryption does to programs and cuts, without its secrecy: each 16-byte block is a keyed permutation of its
 * plaintext and its address, so one changed cell garbles its whole block, and erased cells read as garbage. Three ARX
 * rounds over four words, undone in the other direction.
 */
export const BLOCK_BYTES = 16;
const ROUNDS = 3;

/** Replaces the blocks of `bytes`, whole ones, by their ciphertext; the first has the address `block`. */
export function encipher(bytes: Uint8Array, block: number, key: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) encipherBlock(view, at, block++, key);
}

/** The other direction. */
export function decipher(bytes: Uint8Array, block: number, key: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) decipherBlock(view, at, block++, key);
}

function encipherBlock(view: DataView, at: number, block: number, key: number): void {
  let a = view.getUint32(at);
  let b = view.getUint32(at + 4);
  let c = view.getUint32(at + 8);
  let d = view.getUint32(at + 12);
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
  view.setUint32(at, a);
  view.setUint32(at + 4, b);
  view.setUint32(at + 8, c);
  view.setUint32(at + 12, d);
}

function decipherBlock(view: DataView, at: number, block: number, key: number): void {
  let a = view.getUint32(at);
  let b = view.getUint32(at + 4);
  let c = view.getUint32(at + 8);
  let d = view.getUint32(at + 12);
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
  view.setUint32(at, a);
  view.setUint32(at + 4, b);
  view.setUint32(at + 8, c);
  view.setUint32(at + 12, d);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
