/** Writes tests/vectors/merkle.json from the naive tree: `node --import tsx tests/merkle/vectors.ts`. */
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { naiveConsistency, naiveInclusion, naiveLeaf, naiveRoot } from "./naive.js";

/** The entries of RFC 6962's reference implementation, then numbered ones to one more than a tile holds. */
const ENTRIES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => Buffer.from(hex, "hex"));
for (let i = ENTRIES.length; i < 257; i++) ENTRIES.push(Buffer.from(`entry ${i}`));

const SIZES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 255, 256, 257];
const INCLUSIONS = [
  [0, 1],
  [0, 2],
  [1, 2],
  [2, 3],
  [0, 7],
  [3, 7],
  [4, 7],
  [6, 7],
  [7, 8],
  [0, 256],
  [255, 256],
  [256, 257],
  [128, 257],
];
const CONSISTENCIES = [
  [1, 1],
  [1, 2],
  [1, 8],
  [2, 3],
  [3, 7],
  [4, 7],
  [6, 7],
  [6, 8],
  [7, 8],
  [255, 256],
  [256, 257],
  [129, 257],
  [257, 257],
];

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

export function vectors() {
  const leaves = ENTRIES.map(naiveLeaf);
  return {
    about: "RFC 9162 trees over SHA-256; all bytes in hexadecimal; made by tests/merkle/vectors.ts",
    entries: ENTRIES.map(hex),
    leaves: leaves.map(hex),
    roots: SIZES.map((size) => ({ size, root: hex(naiveRoot(leaves.slice(0, size))) })),
    inclusion: INCLUSIONS.map(([index, size]) => ({
      index,
      size,
      path: naiveInclusion(index!, leaves.slice(0, size)).map(hex),
    })),
    consistency: CONSISTENCIES.map(([oldSize, size]) => ({
      oldSize,
      size,
      path: naiveConsistency(oldSize!, leaves.slice(0, size)).map(hex),
    })),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(
    fileURLToPath(new URL("../vectors/merkle.json", import.meta.url)),
    `${JSON.stringify(vectors(), null, 1)}\n`,
  );
}
