/** What of modules/ no board is given, by path below modules/ without its ending, and why. */
export const NOT_ON_BOARDS: ReadonlyMap<string, string> = new Map([
  [
    "identity/tweetnacl",
    "signing in JavaScript takes 17 s on a board, which has the curve in C; mcconfig takes no CommonJS",
  ],
  ["identity/webcrypto", "boards have the curve in C, and no WebCrypto"],
  ["identity/portable", "it is the JavaScript engines put together: see identity/tweetnacl"],
]);

/** Folders below modules/ that are left out as a whole, and why. */
export const FOLDERS_NOT_ON_BOARDS: ReadonlyMap<string, string> = new Map([
  ["evidence", "a board hands out records; whoever checks evidence does so elsewhere, with room for a ledger's proofs"],
]);

/** Why a file of modules/ is on no board; undefined where its folder's manifest has to name it. */
export function whyNotOnBoards(module: string): string | undefined {
  const folder = [...FOLDERS_NOT_ON_BOARDS.keys()].find((name) => module.startsWith(`${name}/`));
  return NOT_ON_BOARDS.get(module) ?? (folder === undefined ? undefined : FOLDERS_NOT_ON_BOARDS.get(folder));
}

/**
 * Globals that modules/ may not touch: they are the host's, not ECMAScript's, or XS 13.3 lacks them. Dotted names are
 * properties of a global object.
 */
export const MISSING_GLOBALS = [
  "AbortController",
  "Array.fromAsync",
  "Atomics.waitAsync",
  "Blob",
  "Buffer",
  "Date.now",
  "DisposableStack",
  "Error.captureStackTrace",
  "Float16Array",
  "Intl",
  "Iterator",
  "Map.groupBy",
  "Math.f16round",
  "Math.random",
  "Math.sumPrecise",
  "Object.groupBy",
  "Performance",
  "Promise.try",
  "Promise.withResolvers",
  "RegExp.escape",
  "Temporal",
  "TextDecoder",
  "TextEncoder",
  "URL",
  "Uint8Array.fromBase64",
  "Uint8Array.fromHex",
  "atob",
  "btoa",
  "clearInterval",
  "clearTimeout",
  "console",
  "crypto",
  "device",
  "fetch",
  "global",
  "navigator",
  "performance",
  "process",
  "queueMicrotask",
  "require",
  "setImmediate",
  "setInterval",
  "setTimeout",
  "structuredClone",
  "trace",
  "window",
] as const;

/** Methods that XS 13.3 lacks, by name: no type is looked at, so modules/ may not use these names for its own either. */
export const MISSING_METHODS = [
  "isWellFormed",
  "setFromBase64",
  "setFromHex",
  "toBase64",
  "toHex",
  "toReversed",
  "toSorted",
  "toSpliced",
  "toWellFormed",
] as const;
