import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "tallystick/bytes/bytes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { portableCrypto } from "tallystick/identity/portable";
import { ALERTS_PER_DAY, RANGE_END_SAMPLES, STUCK_SAMPLES } from "tallystick/insight/watch";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { weatherAt } from "../../hosts/simulator/world/weather.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { Bench, type BenchOptions } from "../device/bench.js";
import { MANY_ATTEMPTS, must, StartedRelay, temporaryFolder } from "../relay/started.js";
import { play } from "../tools/session.js";
import application from "./application.js";
import { type Audit, type AuditedAlert, audit } from "./audit.js";
import { TamperedChip } from "./tampered.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;

/** No two devices of this file have one key. */
let nextSeed = Number(process.env["SEED"] ?? 40_000);

/** A device in recorded weather whose chip somebody tampers with, and its bench. */
function tampered(options: BenchOptions = {}): { bench: Bench; chip: TamperedChip } {
  let chip!: TamperedChip;
  const bench = new Bench({
    surroundings: weatherAt("attic"),
    sectors: 64,
    seed: nextSeed++,
    lane: laneA(application, relayCrypto),
    ...options,
    chip: (plain) => {
      chip = new TamperedChip(plain);
      return chip;
    },
  });
  return { bench, chip };
}

/** Lets time pass until so many more frames were asked for, and what they came to is committed. */
async function frames(bench: Bench, chip: TamperedChip, count: number): Promise<void> {
  const goal = chip.frames + count;
  await bench.until(`${count} frames`, () => chip.frames >= goal, (count + 2) * MINUTE);
  const held = bench.held.length;
  await bench.until("the pack", () => bench.held.slice(held).some(({ kind }) => kind === "readings"), 4 * MINUTE);
  // What was found is committed right behind it, in jobs of its own.
  await bench.run(10);
}

const alertsHeld = ({ held }: Bench) => held.filter(({ kind }) => kind === "alert").length;

describe("a device whose sensor lies", function () {
  this.timeout(600_000);
  let started: StartedRelay;
  let xs: Lane;

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("application.ts", import.meta.url)));
    xs = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
  });
  after(() => started.close());

  const lanes = [
    ["on Node", () => laneA(application, relayCrypto)],
    ["on XS, with an ESP32-C3's stack", () => xs],
  ] as const;

  /** The whole chain at the relay, as someone reads it who trusts neither; and each alert by the offline verifier. */
  async function audited(bench: Bench): Promise<Audit> {
    await bench.checkNothingLost(started);
    assert.deepEqual(
      bench.ends.filter(({ kind }) => kind !== "power-cut"),
      [],
      "no start ended of itself",
    );
    const result = audit(bench.recordsAt(started.relay));
    await started.settled();
    for (const alert of result.alerts) await checkShown(alert);
    return result;
  }

  /** The relay says of an alert what its bytes say, and its evidence is proved. */
  async function checkShown({ id, seq, finding, quantity, text, records }: AuditedAlert): Promise<void> {
    const answer = await fetch(`${started.url}/v1/records/${id}`, { headers: { accept: "application/json" } });
    const view = (await answer.json()) as { readonly [name: string]: unknown };
    assert.deepEqual([view["kind"], view["seq"]], ["alert", seq]);
    const { withheld: _, ...alert } = view["alert"] as { readonly [name: string]: unknown };
    assert.deepEqual(alert, { finding, quantity, text, records: records.map(toHex) });
    const policy = must(readPolicy(portableCrypto.sha256, policyText()));
    const report = must(verifyEvidence(portableCrypto, await evidenceOf(id), policy));
    assert.equal(report.verdict, "proved", `the alert at ${seq}`);
  }

  async function evidenceOf(id: string): Promise<Uint8Array> {
    const answer = await fetch(`${started.url}/v1/records/${id}/evidence`);
    if (!answer.ok) assert.fail(await answer.text());
    return new Uint8Array(await answer.arrayBuffer());
  }

  const policyText = () => JSON.stringify({ log: started.relay.identity.logKey, require: ["signature", "logged"] });

  async function begun(options: BenchOptions = {}): Promise<{ bench: Bench; chip: TamperedChip }> {
    const made = tampered(options);
    made.bench.provision(started);
    made.bench.connect(started.url);
    await made.bench.powerOn();
    await frames(made.bench, made.chip, 5);
    return made;
  }

  for (const [where, lane] of lanes) {
    it(`stuck: the bus gives the same frame, found with the ${STUCK_SAMPLES}th of them, and told again when it ends, ${where}`, async () => {
      const { bench, chip } = await begun({ lane: lane() });
      try {
        chip.freeze();
        // The newest honest frame is the first of the equal ones.
        await frames(bench, chip, STUCK_SAMPLES - 3);
        assert.equal(alertsHeld(bench), 0);
        await frames(bench, chip, 2);
        assert.equal(alertsHeld(bench), 3, "temperature, humidity and pressure");
        await frames(bench, chip, 3 * STUCK_SAMPLES);
        assert.equal(alertsHeld(bench), 3, "told once");
        chip.restore();
        await frames(bench, chip, 2);
        const { alerts, findings, told } = await audited(bench);
        assert.deepEqual([...told].sort(), [...findings].sort());
        assert.deepEqual(
          alerts.map(({ finding }) => finding),
          ["stuck", "stuck", "stuck", "stuck-end", "stuck-end", "stuck-end"],
        );
        assert.deepEqual(alerts.map(({ quantity }) => quantity).sort(), [
          ...["humidity", "humidity", "pressure", "pressure", "temperature", "temperature"],
        ]);
        for (const { records } of alerts) assert.ok(records.length >= 1 && records.length <= 2);
      } finally {
        await bench.close();
      }
    });

    it(`jump: a flipped bit, found with the first frame that has it, ${where}`, async () => {
      const { bench, chip } = await begun({ lane: lane() });
      try {
        chip.flipOnce();
        await frames(bench, chip, 4);
        const { alerts, findings, told } = await audited(bench);
        assert.deepEqual([...told].sort(), [...findings].sort());
        const ofTemperature = alerts.filter(({ quantity }) => quantity === "temperature");
        assert.deepEqual(
          ofTemperature.map(({ finding }) => finding),
          ["jump", "jump"],
          "there and back",
        );
        const { path, remove } = temporaryFolder();
        try {
          writeFileSync(join(path, "jump.tally"), await evidenceOf(ofTemperature[0]!.id));
          writeFileSync(join(path, "policy.json"), policyText());
          const [before, after] = ofTemperature[0]!.records.map(toHex);
          const { seq, text } = ofTemperature[0]!;
          const about = after === undefined ? [] : [`  about ${after}`];
          const lines = [`alert, seq ${seq}: temperature jump: ${text}`, `  about ${before}`, ...about];
          play(
            `$ tallystick verify jump.tally --policy policy.json\n…\n${lines.map((line) => `…${line}`).join("\n")}\n…\n[0]`,
            path,
          );
        } finally {
          remove();
        }
      } finally {
        await bench.close();
      }
    });

    it(`range: more than the chip can measure, found with the first frame, and ended with the ${RANGE_END_SAMPLES}th within, ${where}`, async () => {
      const { bench, chip } = await begun({ lane: lane() });
      try {
        chip.pullUp();
        await frames(bench, chip, 1);
        assert.equal(alertsHeld(bench), 3, "no quantity can be had without the temperature");
        await frames(bench, chip, 30);
        assert.equal(alertsHeld(bench), 3);
        chip.restore();
        await frames(bench, chip, RANGE_END_SAMPLES + 1);
        const { alerts, findings, told } = await audited(bench);
        assert.deepEqual([...told].sort(), [...findings].sort());
        assert.deepEqual(
          alerts.map(({ finding }) => finding),
          ["range", "range", "range", "range-end", "range-end", "range-end"],
        );
      } finally {
        await bench.close();
      }
    });
  }

  it("makes no alert in an honest day of weather, on XS", async () => {
    const { bench } = await begun({ lane: xs });
    try {
      await bench.run(DAY);
      const { alerts, findings, readings } = await audited(bench);
      assert.deepEqual([alerts, findings], [[], []]);
      assert.ok(readings > 4_300, `${readings}`);
    } finally {
      await bench.close();
    }
  });

  it("tells a flood of lies in a few alerts, and has every reading", async () => {
    const { bench, chip } = await begun();
    try {
      chip.rattle(0x10);
      await bench.run(2 * DAY);
      const { alerts, findings, bytes, alertBytes, readings } = await audited(bench);
      const jumps = findings.filter((finding) => finding.includes(" jump ")).length;
      assert.ok(jumps > 2_800, `${jumps} jumps`);
      assert.ok(alerts.length > 0 && alerts.length <= 3 * 2 * ALERTS_PER_DAY, `${alerts.length} alerts`);
      assert.ok(alertBytes < bytes / 20, `${alertBytes} of ${bytes} bytes are alerts`);
      assert.ok(readings > 8_600, `${readings}`);
      const withheld = alerts.reduce((sum, alert) => sum + (alert.withheld ?? 0), 0);
      assert.ok(withheld + alerts.length > jumps / 2 && withheld + alerts.length <= jumps + 2, `${withheld} withheld`);
    } finally {
      await bench.close();
    }
  });

  it("leaves the journal's last tenth to readings", async () => {
    const { bench, chip } = tampered({ sectors: 8 });
    bench.provision(started);
    try {
      await bench.powerOn();
      await bench.until(
        "a journal that is critical",
        () => bench.lines.some((line) => / level=critical/.test(line)),
        DAY,
      );
      chip.flipOnce();
      const before = bench.held.length;
      await frames(bench, chip, 4);
      assert.ok(bench.held.slice(before).every(({ kind }) => kind !== "alert"));
      assert.ok(bench.held.length > before, "readings go on");
    } finally {
      await bench.close();
    }
  });

  it("keeps chain and alerts right wherever the power goes around an alert", async () => {
    const moments = ["before", "within", "after"] as const;
    const first = nextSeed;
    let cut = 0;
    let whole = 0;
    for (let operation = 1; whole === 0; operation++)
      for (const moment of moments) {
        // Before an operation is after the one before it.
        if (moment === "before" && operation > 1) continue;
        const seed = nextSeed;
        const { bench, chip } = tampered();
        const rerun = `operation ${operation} ${moment}, seed ${seed}: SEED=${first} npx mocha tests/insight/device.test.ts -g wherever reruns this`;
        bench.provision(started);
        bench.connect(started.url);
        try {
          await bench.powerOn();
          await frames(bench, chip, 3);
          chip.flipOnce();
          bench.world.power.plan({ operation, moment });
          await bench.run(4 * MINUTE, () => bench.simulation.state === "off");
          const wasCut = bench.simulation.state === "off";
          bench.world.power.plan(undefined);
          const reported = alertsHeld(bench);
          if (wasCut) {
            cut++;
            await bench.powerOn();
          } else whole++;
          await frames(bench, chip, 3);
          const { alerts, findings, told } = await audited(bench);
          for (const one of told) assert.ok(findings.includes(one), `${one} is found by anyone`);
          assert.equal(new Set(told).size, told.length, "none is told twice");
          assert.ok(alerts.length >= reported, "an alert that was committed is there");
          if (!wasCut) assert.deepEqual([...told].sort(), [...findings].sort());
        } catch (error) {
          throw new Error(rerun, { cause: error });
        } finally {
          await bench.close();
        }
      }
    assert.ok(cut > 2 * 6, `${cut} cuts, ${whole} runs that none reached`);
  });
});
