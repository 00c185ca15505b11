/** Prints the figures of hosts/simulator/engine/README.md: `node --import tsx tools/engine/measure.ts`. */
import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Board, loadEngine, type World } from "../../hosts/simulator/board.js";
import { buildImage, modulesOf, npmModules } from "../../hosts/simulator/image.js";
import { ensureEngine } from "./build.js";

const BOARDS = 100;
const EVENTS = 2000;
const SLOW_EVENTS = 5;

/** Each event's first byte names the work that is measured. */
const MAIN = `
import { call, onEvent } from "wire";
import { sha256, ed25519 } from "tallystick-native";
import { sha256 as portable } from "@noble/hashes/sha2";
import nacl from "tweetnacl";
const seed = new Uint8Array(32).fill(7), publicKey = new Uint8Array(ed25519.publicKey(seed));
const { secretKey } = nacl.sign.keyPair.fromSeed(seed);
const message = new Uint8Array(160), short = new Uint8Array(64), signature = new Uint8Array(ed25519.sign(message, seed, publicKey));
const work = [
  () => {},
  () => { message.set(new Uint8Array(ed25519.sign(message, seed, publicKey)), 96); call(20, sha256(message)); },
  () => ed25519.sign(message, seed, publicKey),
  () => ed25519.verifyEquation(signature, message, publicKey),
  () => sha256(short),
  () => portable(short),
  () => nacl.sign.detached(message, secretKey),
];
onEvent((event) => { work[new Uint8Array(event)[0]](); });
`;

async function timed<T>(what: string, count: number, unit: "ms" | "µs", run: () => T | Promise<T>): Promise<T> {
  // Time on the processor, not on the wall: other work on the machine does not count.
  const start = process.cpuUsage();
  const result = await run();
  const { user, system } = process.cpuUsage(start);
  const each = (user + system) / count / (unit === "ms" ? 1000 : 1);
  console.log(`${what.padEnd(44)} ${each.toFixed(each < 10 ? 2 : 0).padStart(7)} ${unit}`);
  return result;
}

const built = await timed("engine, from the cache", 1, "ms", () => ensureEngine());
console.log(`${"board.wasm".padEnd(44)} ${(statSync(built.wasm).size / 1e6).toFixed(2).padStart(7)} MB`);
const engine = await timed("compile the module in V8", 1, "ms", () => loadEngine(built));
const nacl = fileURLToPath(new URL("../../node_modules/tweetnacl/nacl-fast.js", import.meta.url));
const modules = [
  ...modulesOf(),
  ...(await npmModules("@noble/hashes", ["sha2", "sha3"])),
  // CommonJS: its one export, and no Node to take randomness from.
  {
    name: "tweetnacl",
    path: nacl,
    text: `const module = { exports: {} }, require = undefined;\n${readFileSync(nacl, "utf8")}\nexport default module.exports;`,
  },
  // Differs in each run, so that the image is built and not taken from the cache.
  { name: "main", path: "main.ts", text: `${MAIN}// ${performance.timeOrigin}` },
];
const image = await timed(`image of ${modules.length} modules`, 1, "ms", () => buildImage({ engine, modules }));
console.log(`${"image".padEnd(44)} ${(image.memory.length / 1e6).toFixed(2).padStart(7)} MB`);
const world: World = { call: () => undefined };
const creation = { staticBytes: 256 * 1024 };
const boot = () => {
  const board = new Board({ engine, image, world, main: "main", creation });
  if (!board.start()) throw new Error(board.end?.message);
  return board;
};
const board = await timed("first board (V8 compiles what it uses)", 1, "ms", boot);
await timed("a board from the image", BOARDS, "ms", () => {
  for (let i = 0; i < BOARDS; i++) boot();
});
const snapshot = board.image();
await timed("copy of a board", BOARDS, "ms", () => {
  for (let i = 0; i < BOARDS; i++) board.image();
});
await timed("back to a copy", BOARDS, "ms", () => {
  for (let i = 0; i < BOARDS; i++) board.restore(snapshot);
});
const works = [
  "empty event",
  "event: sign 160 B, hash, call out",
  "Ed25519 sign, C",
  "Ed25519 verify, C",
  "SHA-256 of 64 B, C",
];
for (const [kind, name] of works.entries()) {
  await timed(name, EVENTS, "µs", () => {
    for (let i = 0; i < EVENTS; i++) board.event(Uint8Array.of(kind));
  });
}
await timed("SHA-256 of 64 B, @noble/hashes", 200, "µs", () => {
  for (let i = 0; i < 200; i++) board.event(Uint8Array.of(5));
});
await timed("Ed25519 sign, tweetnacl", SLOW_EVENTS, "ms", () => {
  for (let i = 0; i < SLOW_EVENTS; i++) board.event(Uint8Array.of(6));
});
if (board.end) throw new Error(board.end.message);
