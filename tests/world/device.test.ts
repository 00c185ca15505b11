import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { portableCrypto } from "tallystick/identity/portable";
import { formatVerifierKey, SignatureType, verifierKey } from "tallystick/log/note";
import { writeToken } from "tallystick/sync/enrolment";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { KEY_DOMAIN } from "../../hosts/board/platform.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { type End, Simulation } from "../../hosts/simulator/simulation.js";
import { difference, Trace } from "../../hosts/simulator/trace.js";
import { BME280Chip } from "../../hosts/simulator/world/chips/bme280.js";
import { EFuses } from "../../hosts/simulator/world/efuse.js";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import type { CutPlan } from "../../hosts/simulator/world/power.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { ensureEngine } from "../../tools/engine/build.js";
import attic from "./attic.js";
import { rig } from "./rig.js";

const MINUTE = 60_000;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;

/** A device on JavaScript cryptography and Node must be, call for call, the device on C and XS. */
describe("a whole device in lanes A and B", function () {
  this.timeout(180_000);

  async function run(lane: Lane, seed: number, cuts: readonly (CutPlan | undefined)[], fused: boolean) {
    const flash = new NorFlash({ sizeBytes: 8 * 4096, seed });
    const fuses = new EFuses({ key: new Uint8Array(32).fill(seed & 0xff), seed });
    const { time, world } = rig({ flash: { chain: flash }, ...(fused && { fuses }) });
    world.i2c[0]!.attach(
      new BME280Chip({
        surroundings: {
          at: (ms) => ({ temperatureC: 20 + (ms % 7_000) / 1_000, humidityPercent: 40, pressurePa: 101_325 }),
        },
        nowMs: () => time.nowMs(),
        seed,
      }),
    );
    const keys = {
      read: (name: string) => world.keys.read(KEY_DOMAIN, name),
      write: (name: string, value: Uint8Array) => world.keys.write(KEY_DOMAIN, name, value),
      delete: (name: string) => world.keys.delete(KEY_DOMAIN, name),
    };
    const origin = "relay.example/log";
    const publicKey = portableCrypto.ed25519.publicKey(new Uint8Array(32).fill(7));
    const logKey = formatVerifierKey(verifierKey(portableCrypto.sha256, origin, SignatureType.ed25519, publicKey));
    writeRelayPins(keys, { origin, deviceKey: publicKey, logKey });
    writeToken(keys, new Uint8Array(32).fill(9));
    const trace = new Trace();
    const lines: string[] = [];
    const ends: End[] = [];
    const onPrint = (line: string) => lines.push(line);
    const simulation = new Simulation({ world, lane, trace, onPrint, onEnd: (end) => ends.push(end) });
    for (const cut of cuts) {
      world.power.plan(cut);
      await simulation.powerOn();
      await time.run(time.nowMs() + 4 * MINUTE, () => simulation.state === "off");
      await simulation.cutPower();
    }
    return { trace, lines, ends };
  }

  it("makes the same records of the same air, cut where it may", async () => {
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("attic.ts", import.meta.url)));
    const random = new SeededRandom(Number(process.env["SEED"] ?? 1));
    for (let round = 0; round < 3; round++) {
      const seed = random.next();
      // The first start is left whole: a formatting that is cut is for a person to look at.
      const cuts: (CutPlan | undefined)[] = [undefined];
      for (let cut = 0; cut < 2 * round; cut++)
        cuts.push({ operation: 1 + random.below(30), moment: random.pick(["before", "within", "after"]) });
      cuts.push(undefined);
      const fused = round % 2 === 1;
      const a = await run(laneA(attic, portableCrypto), seed, cuts, fused);
      const b = await run(laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS }), seed, cuts, fused);
      const rerun = `SEED=${process.env["SEED"] ?? 1}, round ${round}`;
      assert.deepEqual(
        b.ends.map(({ kind, ...rest }) => (kind === "crash" ? { kind, ...rest } : kind)),
        a.ends.map(({ kind }) => kind),
        rerun,
      );
      assert.equal(difference(a.trace, b.trace), undefined, rerun);
      const held = a.lines.flatMap((line) => /event=held seq=(\d+)/.exec(line)?.[1] ?? []);
      assert.ok(held.length >= 8, `${rerun}: ${held.length} records`);
    }
  });
});
