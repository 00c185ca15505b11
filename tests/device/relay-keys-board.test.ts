import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { toHex } from "tallystick/bytes/bytes";
import { RELAY_KEYS_MAX } from "tallystick/sync/relay-key";
import { readRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Relay } from "../../hosts/relay/relay.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { newEngine } from "../engine/boards.js";
import { change, changeAndRestart, RECOVERY, startRecoverable, stolen } from "../relay/key-change.js";
import { must, type StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;

/** The real engine, in a machine of an ESP32-C3's figures: what is followed fits its stack and its memory. */
describe("a board whose relay's keys change", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let bench: Bench;

  before(async function () {
    await newEngine.call(this);
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("gap-application.ts", import.meta.url)));
    started = await startRecoverable();
    const lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    bench = new Bench({ seed: 801, lane });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
  });
  after(async () => {
    await bench.close();
    await started.close();
  });

  async function checkFollowed(): Promise<void> {
    bench.connect(started.url);
    const pinsOf = () => must(readRelayPins(bench.keys, relayCrypto.sha256));
    await bench.until("the newest pins", () => pinsOf().generation === started.pins.generation);
    await bench.checkNothingLost(started);
    const pins = pinsOf();
    assert.equal(toHex(pins.deviceKey), toHex(started.key));
    assert.equal(pins.tree, undefined);
    assert.deepEqual(bench.ends, [], "it never crashed");
  }

  it("follows a rotation of both keys", async () => {
    await changeAndRestart(started, { withLogKey: true });
    await checkFollowed();
  });

  it("follows as many statements as one answer takes, and then the rest", async () => {
    await started.relay.close();
    for (let i = 0; i < RELAY_KEYS_MAX + 3; i++) await change(started.folder, { withLogKey: i === 5 });
    await started.reopen();
    await checkFollowed();
    const generations = bench.lines.flatMap((line) => /event=relay-key generation=(\d+)/.exec(line)?.[1] ?? []);
    assert.deepEqual(generations, ["1", `${RELAY_KEYS_MAX + 1}`, `${RELAY_KEYS_MAX + 4}`]);
  });

  it("comes back from a thief's tree", async () => {
    await started.relay.close();
    const folder = stolen(started);
    await started.reopen();
    await change(folder.path, { withLogKey: true });
    const thief = must(await Relay.open({ dataDir: folder.path, batchIntervalMs: 20 }));
    try {
      bench.connect(thief.url);
      const goal = bench.headSeq + 3;
      await bench.until("received by him", () => bench.level("received") >= goal);
      must(await thief.log.sequence());
      await bench.until("logged by him", () => bench.level("logged") >= goal);
      bench.disconnect();
      await changeAndRestart(started, { recovery: RECOVERY, withLogKey: true });
      await checkFollowed();
      assert.ok(bench.codes.includes("RELAY_BEHIND"));
    } finally {
      await thief.close();
      folder.remove();
    }
  });
});
