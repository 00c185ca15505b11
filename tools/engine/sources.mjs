// The published sources that the engine is compiled from: which package, which exact bytes, which files of it.

/** @type {readonly import("./sources.mjs").Source[]} Described in sources.d.mts. */
export const SOURCES = [
  {
    // The JavaScript engine XS 13.3.0 of the Moddable SDK. Its snapshot code needs a platform that we do not have.
    name: "@agoric/xsnap",
    version: "0.15.0",
    integrity: "sha512-ZBm4DZxbtfacxMHVVdJjZi0Y8zOxN77vpu1WwI5RWfPkaRh0aHkz/dVdTGKXalDNzWfz183lljKxlxl3/h0n+A==",
    folder: "xs",
    from: "package/moddable/xs/",
    keep: /^(sources\/(?!xsSnapshot)[^/]+\.[ch]|includes\/[^/]+\.h|platforms\/[^/]+\.h)$/,
    licence: "LGPL-3.0-or-later",
  },
  {
    // Orson Peters' portable C of Ed25519, from the reference implementation in SUPERCOP.
    name: "ed25519-supercop",
    version: "2.0.1",
    integrity: "sha512-5K75apA428ygTu/uvWwfOPPqdw65v7lFDLX6CSsV/ByhhVR5xED93KXeKDEMZ7G2Ttd3RyQoL8pFGSoMEWBXHA==",
    folder: "ed25519",
    from: "package/vendor/ed25519/",
    keep: /^(src\/(fe|ge|keypair|sc|sha512|sign|verify)\.c|src\/[^/]+\.h|license\.txt)$/,
    licence: "Zlib",
  },
  {
    // Colin Percival's SHA-256, and a way to clear memory that compilers keep.
    name: "scrypt",
    version: "6.0.3",
    integrity: "sha512-NDrWb9hCm6Ev170XYVl7TSgu4R44Rjc8EVw1ce0TMN8EkfLvkhlwcfp61OVNc8EJDiHaQwVErn1fIU0RO3kSZw==",
    folder: "libcperciva",
    from: "package/scrypt/scrypt-1.2.0/libcperciva/",
    keep: /^(alg\/sha256\.[ch]|util\/(insecure_memzero\.[ch]|sysendian\.h)|COPYRIGHT)$/,
    licence: "BSD-2-Clause",
  },
];
