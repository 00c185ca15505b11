// Reads the tarballs that npm packs: gzip around POSIX ustar (IEEE 1003.1), regular files with short names.
import { gunzipSync } from "node:zlib";

const BLOCK_BYTES = 512;
/** The largest tarball here unpacks to 10 MB. */
const UNPACKED_MAX_BYTES = 64 << 20;

/**
 * The regular files of a gzipped tar archive, by path. Other kinds of entries are passed over.
 * @param {Uint8Array} archive
 * @returns {Map<string, Buffer>}
 */
export function readTarball(archive) {
  const tar = gunzipSync(archive, { maxOutputLength: UNPACKED_MAX_BYTES });
  const files = new Map();
  let offset = 0;
  while (offset + BLOCK_BYTES <= tar.length && tar[offset] !== 0) {
    const header = tar.subarray(offset, offset + BLOCK_BYTES);
    const name = field(header, 0, 100);
    const prefix = field(header, 345, 155);
    const bytes = Number.parseInt(field(header, 124, 12), 8);
    if (!Number.isSafeInteger(bytes)) throw new Error(`tar: expected an octal size for ${name}`);
    const start = offset + BLOCK_BYTES;
    const kind = header[156];
    if (kind === 0 || kind === 0x30) files.set(prefix ? `${prefix}/${name}` : name, tar.subarray(start, start + bytes));
    offset = start + Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return files;
}

/** A NUL- or space-ended text field of a header. */
function field(header, start, length) {
  return header
    .toString("utf8", start, start + length)
    .replace(/\0.*$/s, "")
    .trim();
}
