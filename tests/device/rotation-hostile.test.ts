import assert from "node:assert/strict";
import { Device, type DeviceOptions } from "tallystick/device/device";
import type { Platform } from "tallystick/device/platform";
import type { Identity } from "tallystick/identity/identity";
import { Kind } from "tallystick/record/record";
import { BME280 } from "tallystick/sensors/bme280/bme280";
import { type Acknowledgement, makeAcknowledgement, readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../hosts/relay/keys.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { MANY_ATTEMPTS, must, StartedRelay } from "../relay/started.js";
import type { BenchOptions } from "./bench.js";
import { SuccessionBench } from "./succession-bench.js";

const MINUTE = 60_000;

/** What is put into an acknowledgement, and with undefined left out of it. */
type Changed = { readonly [K in keyof Acknowledgement]?: Acknowledgement[K] | undefined };

/** What becomes of a device that has a rotation planned. */
describe("a device with a rotation planned, whatever else happens", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let relayKey: Identity;
  let bench: SuccessionBench;
  let device: Device;
  let _readings: number;
  let seed = 71_000;

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
    relayKey = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
  });
  after(() => started.close());
  afterEach(() => bench.close());

  function begin(options: Partial<DeviceOptions> = {}, more: BenchOptions = {}): void {
    _readings = 0;
    const application = (platform: Platform) => {
      device = new Device(platform, {
        label: "vault",
        sensors: [{ sensor: new BME280({ sensor: platform.i2c }), everyMs: 10_000 }],
        maxAgeMs: 15_000,
        pollMs: 20_000,
        onReading: () => {
          _readings++;
        },
        ...options,
      });
      return device;
    };
    bench = new SuccessionBench(started, { seed: seed++, sectors: 16, lane: laneA(application, relayCrypto), ...more });
  }

  /** The relay's answers, changed and signed anew. */
  function claiming(change: (honest: Acknowledgement) => Changed) {
    bench.network.alter = (request, answer) => {
      if (answer.outcome !== "answered" || answer.status !== 200 || request.method !== "POST") return answer;
      const { acknowledgement } = must(readAcknowledgement(answer.body));
      const changed = { ...acknowledgement, ...change(acknowledgement) } as Acknowledgement;
      const body = makeAcknowledgement(relayKey.kid, changed, (bytes) => must(relayKey.sign(bytes)));
      return { ...answer, body };
    };
  }

  /** Of all that is logged, but the newest. */
  const lagging = ({ received, logged }: Acknowledgement) =>
    logged && received && logged.seq >= received.seq ? { logged: undefined } : {};

  async function untilHeld(): Promise<void> {
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    claiming(lagging);
    must(device.rotate());
    const seq = () => bench.headSeq;
    await bench.until("a word on all of the chain", () => bench.level("received") === seq());
    const head = seq();
    await bench.run(25_000);
    assert.equal(seq(), head, "it holds back what it samples, for the moment");
    assert.equal(bench.keys.read("rotated"), undefined);
  }

  it("commits what was sampled when it is closed", async () => {
    begin();
    await untilHeld();
    const before = bench.headSeq;
    void device.close();
    await bench.run(5000);
    assert.ok(bench.headSeq > before, `what waited was dropped: nothing was committed behind seq ${before}`);
  });

  it("asks the relay each 2 s at the most, however long the moment does not come", async () => {
    begin({ releaseAt: "final" });
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    must(device.rotate());
    const perMinute: number[] = [];
    for (let minute = 0; minute < 20; minute++) {
      const before = bench.network.requests.length;
      await bench.run(MINUTE);
      await started.settled();
      perMinute.push(bench.network.requests.length - before);
    }
    assert.ok(Math.max(...perMinute) < 60, `requests in each minute: ${perMinute.join(" ")}`);
  });

  it("appends nothing while the relay says that it holds records which the device knows nothing of", async () => {
    begin();
    await untilHeld();
    const head = bench.headSeq;
    const id = new Uint8Array(32).fill(9);
    claiming(() => ({ received: { seq: head + 3, id }, logged: undefined }));
    bench.network.target = lossy(bench.network.target!);
    await bench.run(3 * MINUTE);
    assert.equal(bench.headSeq, head, "it appended before it knew what the relay holds");
  });

  type Target = NonNullable<SuccessionBench["network"]["target"]>;
  /** The records that the device asks for do not come. */
  const lossy = (target: Target): Target => ({
    request: async (request, signal) =>
      request.method === "GET" && request.path.includes("/records")
        ? { outcome: "timed-out", detail: "lost" }
        : target.request(request, signal),
  });

  it("the same without a rotation", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    const id = new Uint8Array(32).fill(9);
    claiming(({ received }) => ({ received: { seq: received!.seq + 3, id }, logged: undefined }));
    bench.network.target = lossy(bench.network.target!);
    await bench.until("a look at the relay", () => bench.network.requests.some(({ method }) => method === "GET"));
    await bench.run(30_000);
    const head = bench.headSeq;
    await bench.run(3 * MINUTE);
    assert.equal(bench.headSeq, head);
  });

  it("signs nothing behind its rotate record where the key store does not take the decision", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    const { cells } = bench;
    const write = cells.write.bind(cells);
    let refused = 0;
    cells.write = (domain, name, value) => {
      if (name === "succession" && refused++ === 0) return;
      write(domain, name, value);
    };
    claiming(lagging);
    must(device.rotate());
    await bench.until("a hold", () => bench.level("received") === bench.headSeq);
    bench.network.alter = undefined;
    const former = bench.kid;
    for (let i = 0; i < 60; i++) {
      await bench.run(5000);
      await started.settled();
    }
    const ofFormer = bench.held.filter(({ kid }) => kid === former);
    const at = ofFormer.findIndex(({ kind }) => kind === "rotate");
    assert.ok(at >= 0 && refused > 0, "no rotation was tried");
    assert.deepEqual(
      ofFormer.slice(at + 1).map(({ seq, kind }) => `${seq} ${kind}`),
      [],
      `behind the rotate record; problems: ${bench.codes.join()}`,
    );
  });

  it("refuses to start where its key store has lost the rotate record, and nothing else: no other word would do", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    const { target } = bench.network;
    bench.network.target = {
      request: async (request, signal) =>
        request.path.endsWith("/succession")
          ? { outcome: "timed-out", detail: "lost" }
          : target!.request(request, signal),
    };
    must(device.rotate());
    for (let i = 0; i < 24 && bench.keys.read("rotated") === undefined; i++) {
      await bench.run(5000);
      await started.settled();
    }
    assert.ok(bench.keys.read("rotated"), "no rotation");
    await bench.cutPower();
    bench.network.target = target;
    bench.keys.delete("rotated");
    await bench.powerOn();
    assert.equal(bench.codes.at(-1), "KEY_UNREADABLE");
  });

  it("whose key store was lost names the key that its chain is signed by", async () => {
    begin({}, { fused: true });
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    bench.disconnect();
    must(device.rotate());
    const { kid } = bench;
    await bench.cutPower();
    for (const name of ["seed", "sent", "rotation"]) bench.keys.delete(name);
    await bench.powerOn();
    const line = bench.lines.find((each) => each.includes("DEVICE_NOT_PROVISIONED"));
    assert.ok(line?.includes(kid), `expected the chain's key ${kid} in: ${line}`);
  });
  it("signs nothing on a chain of which two branches are signed, and is let in by a succession", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    const [flash, cells] = [bench.flash.snapshot(), new Map(bench.cells.values)];
    const from = bench.headSeq;
    await bench.until("records", () => bench.headSeq >= from + 4);
    await bench.climb(started);
    await bench.cutPower();
    const top = bench.chainOf(bench.kid).length - 1;
    // Flash and key store set back together; the device records up to where the relay stands, in another branch.
    bench.flash.restore(flash);
    bench.cells.values.clear();
    for (const [name, value] of cells) bench.cells.values.set(name, value);
    bench.disconnect();
    const before = bench.held.length;
    await bench.powerOn();
    await bench.until("another branch", () => bench.headSeq === top && bench.held.length > before);
    must(device.rotate());
    const own = () => {
      const { seq, id } = bench.held[bench.held.length - 1]!;
      return { seq, id: new Uint8Array(Buffer.from(id, "hex")) };
    };
    // A relay that hides what it has, for one answer.
    claiming(() => ({ received: own(), logged: undefined }));
    bench.connect(started.url);
    const told = bench.lines.length;
    await bench.until("an answer", () => bench.lines.slice(told).some((line) => line.includes("event=acknowledged")));
    bench.network.alter = undefined;
    const head = bench.headSeq;
    await bench.until("two branches", () => bench.codes.includes("SUCCESSION_NEEDED"));
    assert.equal(bench.headSeq, head);
    const former = bench.kid;
    const held = bench.held.length;
    for (let i = 0; i < 60 && !bench.hasEnded(); i++) {
      await bench.run(5000);
      await started.settled();
    }
    const signed = bench.held.slice(held).filter(({ kid }) => kid === former);
    assert.deepEqual(
      { signed: signed.map(({ seq, kind }) => `${seq} ${kind}`), letIn: bench.hasEnded() },
      { signed: [], letIn: true },
      [...new Set(bench.codes)].join(),
    );
  });

  it("forgets no rotation that it has agreed to, and burns no fuse for one", async () => {
    const agreed: string[] = [];
    let fuses = -1;
    begin(
      {
        onRecord: ({ kind }) => {
          if (kind !== Kind.rotate) return;
          void (async () => {
            // In each of the jobs that follow, as an application may that waits for something of its own.
            for (let job = 0; job < 12; job++) {
              if (device.rotate().ok) agreed.push(`job ${job}`);
              await undefined;
            }
          })();
        },
      },
      { fused: true },
    );
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    must(device.rotate());
    for (let i = 0; i < 60 && !bench.hasEnded(); i++) {
      await bench.run(5000);
      await started.settled();
    }
    assert.ok(bench.hasEnded());
    fuses = bench.fuses!.read().lastIndexOf(1) + 1;
    assert.deepEqual({ fuses, planned: bench.keys.read("rotation") }, { fuses: 2, planned: undefined }, agreed.join());
  });

  it("writes nothing to the key store after it was closed", async () => {
    begin();
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await device.close();
    device.rotate();
    assert.equal(bench.keys.read("rotation"), undefined);
  });
});
