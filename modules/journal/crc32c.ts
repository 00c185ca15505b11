/**
 * CRC-32C (Castagnoli), as iSCSI defines it (RFC 3720 §B.4): reflected polynomial 0x82F63B78, all ones in and out.
 * Up to three flipped bits in anything of a sector's length are always found; a half-erased page passes once in 2³².
 */
const POLYNOMIAL = 0x82f63b78;

// A plain array, not a typed one: the table is preloaded into the firmware's flash.
const TABLE: readonly number[] = makeTable();

function makeTable(): number[] {
  const table: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    table.push(value >>> 0);
  }
  return table;
}

/** The CRC of `bytes` from `start` up to `end`; `previous` continues over an earlier part. An unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, previous = 0): number {
  let crc = ~previous;
  for (let i = start; i < end; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
