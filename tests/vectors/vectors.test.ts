import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { portableCrypto } from "tallystick/identity/portable";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { npmModules } from "../../hosts/simulator/image.js";
import { boardModules } from "../../hosts/simulator/lane-b.js";
import { newEngine, Printed, printingWorld, startWith } from "../engine/boards.js";
import { consumeVectors } from "./consume.js";
import { vectorFiles as files } from "./files.js";

/** Runs consume.ts on a board, with the C of its engine. */
const MAIN = `
import { call } from "wire";
import { ed25519, sha256 } from "tallystick-native";
import { createCrypto } from "tallystick/board/crypto";
import { consumeVectors } from "./consume";
import files from "./files";
for (const line of consumeVectors(createCrypto({ ed25519, sha256 }), files)) call(3, ArrayBuffer.fromString(line));
call(3, ArrayBuffer.fromString("end"));
`;

describe("vectors", () => {
  const expected = consumeVectors(portableCrypto, files);

  it("are what they say, by the portable cryptography on Node", () => {
    assert(expected.length > 500);
    const wrong = expected.filter(
      (line) => !line.startsWith("bit") && /false|open signature|open device|open logged/.test(line),
    );
    assert.deepEqual(wrong, []);
  });

  it("have an acknowledgement that names what was erased, and is one only to who asked from below it", () => {
    const accepted = expected.filter((line) => line.startsWith("erased ") && line.endsWith("accepted"));
    assert.deepEqual(
      accepted,
      ["asked from none", "asked from 2", "asked from 3", "at 1", "at 7"].map((words) => `erased ${words} accepted`),
    );
    const refused = expected.filter((line) => line.startsWith("erased ") && /_FALSE|MALFORMED/.test(line));
    assert.equal(refused.length, 5);
  });

  it("give the same lines by libsodium on Node", () => {
    assert.deepEqual(consumeVectors(relayCrypto, files), expected);
  });

  it("give the same lines on XS, by the C of the engine", async function () {
    await newEngine.call(this);
    const printed = new Printed();
    const board = await startWith({
      modules: [
        ...boardModules(),
        ...(await npmModules("@noble/hashes", ["sha3"])),
        ...[
          "consume",
          "consume-acknowledgement",
          "consume-alert",
          "consume-mqtt",
          "consume-omission",
          "consume-witness",
        ].map((name) => ({
          name: `vectors/${name}`,
          path: fileURLToPath(new URL(`${name}.ts`, import.meta.url)),
        })),
        { name: "vectors/files", path: "files.js", text: `export default ${JSON.stringify(files)};` },
        { name: "vectors/main", path: "main.js", text: MAIN },
      ],
      roots: ["vectors/main"],
      main: "vectors/main",
      world: printingWorld(printed),
      // Room for all vectors at once: what a small machine does is another test.
      creation: { staticBytes: 1 << 21, stackSlots: 2048 },
    });
    assert.equal(board.end, undefined, JSON.stringify(board.end));
    assert.deepEqual(printed.lines, [...expected, "end"]);
  });
});
