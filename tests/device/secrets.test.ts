import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import pino from "pino";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { newEngine } from "../engine/boards.js";
import { StartedRelay } from "../relay/started.js";
import type { BenchOptions } from "./bench.js";
import rotating from "./rotating-application.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;
/** Too few for the runtime to start. */
const STACK_SLOTS_SHORT = 200;

/** Everything that leaves a device or a relay where others may read it: nowhere in it is what only the owner may know. */
describe("secrets of a device and its relay", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  const log: string[] = [];
  let image: Parameters<typeof laneB>[1];

  before(async function () {
    await newEngine.call(this);
    image = await buildBoardImage(
      loadEngine(await ensureEngine()),
      fileURLToPath(new URL("gap-application.ts", import.meta.url)),
    );
    started = await StartedRelay.start({
      logger: pino({ level: "trace" }, { write: (line: string) => void log.push(line) }),
    });
  });
  after(() => started.close());

  /** Everything that the device of a bench lets out, as far as it has by the time it is asked for. */
  function watch(bench: SuccessionBench): () => Record<string, Uint8Array> {
    const wire: Uint8Array[] = [];
    bench.network.onRequest = ({ body }) => void wire.push(body.slice());
    bench.network.alter = (_request, answer) => {
      if (answer.outcome === "answered") wire.push(answer.body.slice());
      return answer;
    };
    // A chip that makes the seeds leaves none of them outside of its RAM.
    const stored: Uint8Array[] = [];
    const write = bench.cells.write.bind(bench.cells);
    bench.cells.write = (domain, name, value) => {
      stored.push(value);
      write(domain, name, value);
    };
    return () => ({
      ...(bench.fuses && { "what was ever in the key store": Buffer.concat(stored) }),
      flash: bench.flash.read(0, bench.flash.sizeBytes),
      wire: Buffer.concat(wire),
      "what the board printed": Buffer.from(bench.lines.join("\n")),
      "how its starts ended": Buffer.from(inspect(bench.ends, { depth: 9 })),
      "the relay's log": Buffer.from(log.join("")),
      ...filesOf(started.folder),
    });
  }

  const lanes: readonly (readonly [string, () => Promise<BenchOptions>])[] = [
    ["Node's engine", async () => ({ seed: 41 })],
    ["XS", async () => ({ seed: 42, lane: laneB(loadEngine(await ensureEngine()), image) })],
    ["Node's engine with a chip's seeds", async () => ({ seed: 44, fused: true })],
    [
      "XS with a chip's seeds",
      async () => ({ seed: 45, fused: true, lane: laneB(loadEngine(await ensureEngine()), image) }),
    ],
  ];
  for (const [name, options] of lanes)
    it(`stay where they are: flash, wire, relay's files, logs, on ${name}`, async () => {
      const bench = new SuccessionBench(started, await options());
      const token = bench.keys.read("token")!;
      const places = watch(bench);
      try {
        await bench.powerOn();
        await bench.until("a chain", () => bench.headSeq > 3);
        await bench.climb(started);
        const first = bench.seedOf("seed")!;
        const former = await bench.lose();
        await bench.powerOn();
        await bench.checkSucceeded(former);
        const second = bench.seedOf("seed")!;
        assert.notDeepEqual(first, second);
        const seen = places();
        const stored = seen["what was ever in the key store"];
        if (stored)
          assert.ok(Buffer.from(stored).includes(Buffer.from(bench.keys.read("seed")!)), "the number is there");
        // The search finds what is there, in the forms in which it is there.
        const publicKey = relayCrypto.ed25519.publicKey(second);
        assert.ok(
          found(seen, publicKey).some((one) => one.startsWith("flash")),
          "the public key is in the flash",
        );
        assert.ok(found(seen, started.key).length > 0, "the relay's public key is on the wire");
        const onlyOnce = (secret: Uint8Array) => secrets(secret).flatMap((one) => found(seen, one));
        for (const seed of [first, second]) assert.deepEqual(onlyOnce(seed), []);
        // The token goes over the wire once: that is what it is for. The relay keeps its hash alone.
        assert.deepEqual(
          found(seen, token).filter((one) => !one.startsWith("wire")),
          [],
        );
      } finally {
        await bench.close();
      }
    });

  for (const fused of [false, true])
    it(`stay where they are while a rotation is planned and carried out, the next ${fused ? "of a chip's seeds" : "seed"}, too`, async () => {
      const bench = new SuccessionBench(started, { seed: 43, fused, lane: laneA(rotating, relayCrypto) });
      const places = watch(bench);
      try {
        await bench.powerOn();
        await bench.until("the wish", () => bench.keys.read("rotation") !== undefined);
        const seeds = [bench.seedOf("seed")!, bench.seedOf("rotation")!];
        for (let passed = 0; passed < 5 && !bench.hasEnded(); passed++) {
          await bench.run(MINUTE, () => bench.hasEnded());
          await started.settled();
        }
        assert.ok(bench.hasEnded());
        assert.deepEqual(bench.seedOf("seed"), seeds[1]);
        const seen = places();
        for (const seed of seeds) {
          assert.ok(found(seen, relayCrypto.ed25519.publicKey(seed)).length > 0, "the public keys are there");
          for (const secret of secrets(seed)) assert.deepEqual(found(seen, secret), []);
        }
      } finally {
        await bench.close();
      }
    });

  it("are in the relay's key files alone, which nobody else may read", () => {
    const files = filesOf(started.folder);
    const keyFiles = Object.keys(files).filter((path) => isSeed(files[path]!));
    assert.ok(keyFiles.length > 0);
    for (const path of keyFiles) {
      if (process.platform !== "win32") assert.equal(statSync(path).mode & 0o777, 0o600, path);
      const seed = fromHex(Buffer.from(files[path]!).toString("ascii").trim())!;
      const others = { ...files, "the log": Buffer.from(log.join("")) };
      delete (others as Record<string, Uint8Array>)[path];
      for (const secret of secrets(seed)) assert.deepEqual(found(others, secret), [], path);
    }
  });

  it("are not in what a board tells when it crashes", async () => {
    const engine = loadEngine(await ensureEngine());
    let withKey = 0;
    // From a stack that is too short to start to one that is too short for a recovery or a signature.
    for (let stackSlots = STACK_SLOTS_SHORT; stackSlots < ESP32_C3.stackSlots; stackSlots += 8) {
      const lane = laneB(engine, image, { stackSlots });
      const bench = new SuccessionBench(started, { seed: stackSlots, fused: stackSlots % 16 === 0, lane });
      try {
        await bench.powerOn();
        await bench.run(2 * MINUTE, () => bench.ends.length > 0);
        const told = { crash: Buffer.from(inspect(bench.ends, { depth: 9 }) + bench.lines.join("\n")) };
        const seed = bench.seedOf("seed");
        if (bench.ends.length === 0 || seed === undefined) continue;
        assert.match(told.crash.toString(), /stack overflow/);
        withKey++;
        for (const secret of secrets(seed)) assert.deepEqual(found(told, secret), []);
      } finally {
        await bench.close();
      }
    }
    assert.ok(withKey > 3, `${withKey} crashes of a board with a key`);
  });
});

/** A seed and what is as good: the scalar that RFC 8032 makes of it, clamped and not, and the nonces' key. */
function secrets(seed: Uint8Array): Uint8Array[] {
  const expanded = createHash("sha512").update(seed).digest();
  const clamped = expanded
    .subarray(0, 32)
    .map((byte, i) => (i === 0 ? byte & 248 : i === 31 ? (byte & 63) | 64 : byte));
  return [seed, new Uint8Array(expanded.subarray(0, 32)), clamped, new Uint8Array(expanded.subarray(32))];
}

/** Where the bytes are, and how they are written: as they are, backwards, in hexadecimal, base64, or as a list of numbers. */
function found(places: Readonly<Record<string, Uint8Array>>, secret: Uint8Array): string[] {
  const buffer = Buffer.from(secret);
  const forms: Readonly<Record<string, Buffer>> = {
    bytes: buffer,
    reversed: Buffer.from(secret.toReversed()),
    hexadecimal: Buffer.from(toHex(secret)),
    "hexadecimal, capitals": Buffer.from(toHex(secret).toUpperCase()),
    // The last characters depend on what follows.
    base64: Buffer.from(buffer.toString("base64").replace(/.{2}=*$/, "")),
    base64url: Buffer.from(buffer.toString("base64url").slice(0, -2)),
    numbers: Buffer.from(secret.join(",")),
    "numbers, spaced": Buffer.from(secret.join(", ")),
  };
  return Object.entries(places).flatMap(([place, bytes]) => {
    const content = Buffer.from(bytes);
    return Object.entries(forms)
      .filter(([, form]) => content.includes(form))
      .map(([form]) => `${place}: ${form}`);
  });
}

function filesOf(folder: string): Record<string, Uint8Array> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, readFileSync(path)]),
  );
}

function isSeed(bytes: Uint8Array): boolean {
  return /^[0-9a-f]{64}\n?$/.test(Buffer.from(bytes).toString("latin1"));
}
