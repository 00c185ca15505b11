/** The regular files of a gzipped tar archive, by path. Other kinds of entries are passed over. */
export function readTarball(archive: Uint8Array): Map<string, Buffer>;
