import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { DATE_TOLERANCE_S } from "tallystick/evidence/dating";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { encodeGap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { Kind, recordId } from "tallystick/record/record";
import { MAX_AGE_MS } from "tallystick/sampler/sampler";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { appendDated, appendMarkOf } from "../fixtures/dated.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { must, StartedRelay } from "./started.js";
import { startReceiver } from "./webhooks/receiver.js";

const { sha256 } = relayCrypto;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 24 * HOUR;
/** `SEED=n` tries other chains, `CHAINS=n` more. */
const SEED = Number(process.env["SEED"] ?? 1);
const CHAINS = Number(process.env["CHAINS"] ?? 25);
const STEPS = 60;

interface Told {
  readonly kid: string;
  readonly records: number;
  readonly seq: number;
  readonly id: string;
  readonly code: string;
}

interface View {
  readonly backdated?: { readonly dated_ms: number; readonly not_before_ms: number };
}

/** A tree with the time at which the relay published it. */
interface Published extends TreeHead {
  readonly atS: number;
}

describe("relay: records that are dated before their chain's newest beacon", function () {
  this.timeout(120_000);
  const startS = Date.UTC(2026, 0, 1) / 1000;
  let nowS = startS;
  let started: StartedRelay;
  const told: Told[] = [];
  const trees: Published[] = [];
  const logger = pino(
    { level: "warn", messageKey: "event", base: null },
    {
      write(line: string) {
        const { event, ...rest } = JSON.parse(line);
        if (event === "record backdated") told.push(rest);
      },
    },
  );
  const options = { nowMs: () => nowS * 1000, batchIntervalMs: 3_600_000, logger };

  beforeEach(async () => {
    nowS = startS;
    told.length = trees.length = 0;
    started = await StartedRelay.start(options);
    note();
  });
  afterEach(() => started.close());

  /** Notes the newest tree, when it is new. */
  function note(): void {
    const { size, root } = started.relay.log.head;
    if (trees.at(-1)?.size !== size) trees.push({ size, root, atS: nowS });
  }

  async function publish(): Promise<void> {
    await started.relay.log.sequence();
    note();
  }

  /** A gap over one record. */
  function gapOver(device: FixtureDevice, seq: number): Uint8Array {
    const gap = new GapBuilder(sha256, seq);
    must(gap.add(recordId(sha256, device.chain[seq]!), device.parse(device.chain[seq]!)));
    return encodeGap(gap.build());
  }

  /** What the relay acknowledges: as a device hears it. */
  async function hear(device: FixtureDevice): Promise<{ readonly tree: TreeHead; readonly timeS: number }> {
    const { checkpoint, timeMs } = device.read(await device.askHead(started.url), started.key);
    const logKey = must(parseVerifierKey(sha256, started.relay.identity.logKey));
    return { tree: must(openCheckpoint(relayCrypto, utf8(checkpoint), logKey)), timeS: Math.floor(timeMs / 1000) };
  }

  async function markNow(device: FixtureDevice): Promise<void> {
    const { tree, timeS } = await hear(device);
    appendMarkOf(device, tree, timeS);
  }

  const idOf = (device: FixtureDevice, seq: number) => toHex(recordId(sha256, device.chain[seq]!));

  async function view(device: FixtureDevice, seq: number): Promise<View> {
    const answer = await get(`${started.url}/v1/records/${idOf(device, seq)}`, { accept: "application/json" });
    assert.equal(answer.status, 200, `seq ${seq} is held`);
    return JSON.parse(Buffer.from(answer.bytes).toString());
  }

  async function flagged(device: FixtureDevice): Promise<number[]> {
    const found: number[] = [];
    for (let seq = 0; seq < device.chain.length; seq++) if ((await view(device, seq)).backdated) found.push(seq);
    return found;
  }

  async function bring(device: FixtureDevice, from: number): Promise<void> {
    const head = device.read(await device.send(started.url, from), started.key).received;
    assert.equal(head?.seq, device.chain.length - 1, "all of it was taken");
  }

  it("allows for all that a reading may wait", () => {
    assert.equal(DATE_TOLERANCE_S, MAX_AGE_MS / 1000 + HOUR);
  });

  it(`finds every lie and no truth in ${CHAINS} random chains`, async () => {
    const tally = { lies: 0, truths: 0, between: 0, undated: 0, late: 0 };
    for (let n = 0; n < CHAINS; n++) await oneChain(new SeededRandom(SEED * 1_000_003 + n), tally);
    for (const [name, count] of Object.entries(tally))
      assert.ok(name === "between" || count > CHAINS, `${name}: ${count}`);
    // What the rule leaves open is little beside what it decides.
    assert.ok(tally.between < (tally.lies + tally.truths) / 10, JSON.stringify(tally));
  });

  /**
   * A device that is honest in some of its records and not in others, at a relay that it sees now and then. What must be
   * found and what must not follows from when each tree was really published, which the test knows by itself.
   */
  async function oneChain(
    random: SeededRandom,
    tally: Record<"lies" | "truths" | "between" | "undated" | "late", number>,
  ) {
    const pick = <T>(from: readonly T[]): T => from[random.below(from.length)]!;
    const device = await started.device({}, nowS * 1000);
    await publish();
    /** Of each record: its date, and its beacon as the test knows it. */
    const dates: (number | undefined)[] = [undefined];
    const beacons: ({ readonly least: number; readonly most: number } | undefined)[] = [undefined];
    let heard = await hear(device);
    let sent = 0;
    const seen = told.length;
    const send = async (): Promise<void> => {
      if (device.chain.length === sent + 1) return;
      await bring(device, sent + 1);
      sent = device.chain.length - 1;
    };
    const add = (dateS: number | undefined, beacon?: { readonly least: number; readonly most: number }): void => {
      dates.push(dateS);
      beacons.push(beacon);
    };
    const beaconOf = (tree: TreeHead, claimedS: number) => {
      const at = trees.findIndex(({ size, root }) => size === tree.size && toHex(root) === toHex(tree.root));
      if (at < 0) return undefined;
      // The tree before is certainly older. A later time that the device claims it may be held to.
      return { least: trees[Math.max(0, at - 1)]!.atS, most: Math.max(trees[at]!.atS, claimedS) };
    };
    for (let step = 0; step < STEPS; step++) {
      nowS += pick([1, MINUTE, MINUTE, HOUR, DAY, 9 * DAY]);
      const act = random.below(12);
      if (act < 2) heard = await hear(device);
      else if (act < 4) {
        // An honest mark, of now or of what it heard last.
        if (!random.oneIn(4)) {
          await send();
          await publish();
          heard = await hear(device);
        }
        appendMarkOf(device, heard.tree, heard.timeS);
        add(heard.timeS, beaconOf(heard.tree, heard.timeS));
      } else if (act === 4) {
        // One that lies: of an old tree, a tree that never was, or a time that never was.
        const old = pick(trees);
        const tree = pick([heard.tree, old, { size: old.size, root: new Uint8Array(randomBytes(32)) }]);
        const timeS = pick([heard.timeS, heard.timeS - 400 * DAY, old.atS, nowS + 100 * DAY]);
        appendMarkOf(device, tree, timeS);
        // A time that has not come when the mark comes counts for nothing.
        add(timeS, beaconOf(tree, timeS > nowS ? 0 : timeS));
        await send();
      } else if (act < 8) {
        // Honest readings: they waited for up to a day, by a clock that is up to an hour wrong.
        const newestS = nowS - random.below(DAY) + random.below(2 * HOUR) - HOUR;
        appendDated(device, [newestS - random.below(DAY), newestS]);
        add(newestS);
      } else if (act < 10) {
        const newestS = nowS + pick([-1, -1, -1, -1, 1]) * random.below(90 * DAY);
        appendDated(device, [newestS - random.below(HOUR), newestS]);
        add(newestS);
      } else if (act === 10) {
        device.appendReading(step);
        add(undefined);
      } else {
        await send();
        if (!random.oneIn(4)) await publish();
      }
    }
    await send();
    const found = new Set(await flagged(device));
    let [least, most] = [-Infinity, -Infinity];
    for (const [seq, dateS] of dates.entries()) {
      least = Math.max(least, beacons[seq]?.least ?? -Infinity);
      most = Math.max(most, beacons[seq]?.most ?? -Infinity);
      const name = `seed ${SEED}: seq ${seq} of ${device.kid}, dated ${dateS}, after ${least} to ${most}`;
      if (dateS === undefined) {
        tally.undated++;
        assert.ok(!found.has(seq), `${name}: has no date`);
      } else if (dateS < least - DATE_TOLERANCE_S) {
        tally.lies++;
        assert.ok(found.has(seq), `${name}: was not found`);
      } else if (dateS >= most - DATE_TOLERANCE_S) {
        tally.truths++;
        if (dateS < nowS - 2 * DAY) tally.late++;
        assert.ok(!found.has(seq), `${name}: was taken for backdated`);
      } else tally.between++;
    }
    // Each was told once, as it came in: the first of a batch by name, and how many they were.
    const ofDevice = told.slice(seen).filter(({ kid }) => kid === device.kid);
    assert.equal(
      ofDevice.reduce((sum, { records }) => sum + records, 0),
      found.size,
    );
    for (const { seq, id, code } of ofDevice)
      assert.deepEqual([found.has(seq), id, code], [true, idOf(device, seq), "RECORD_BACKDATED"]);
  }

  it("tells nothing of a device that is offline for a year and brings all of it at once", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    for (let day = 0; day < 365; day++) {
      if (day % 90 === 0) await markNow(device);
      nowS += DAY;
      appendDated(device, [nowS - HOUR, nowS]);
    }
    await bring(device, 1);
    assert.deepEqual([told, await flagged(device)], [[], []]);
  });

  it("tells nothing of a clock that is set back to the right time, or that is not set", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    await markNow(device);
    // A month ahead, then right, then forgotten, then by a network that is not of the relay's opinion.
    for (const offsetS of [30 * DAY, 30 * DAY, 0, 0, -50 * MINUTE]) {
      nowS += HOUR;
      appendDated(device, [nowS + offsetS]);
      device.appendReading(1);
      await markNow(device);
    }
    await bring(device, 1);
    assert.deepEqual([told, await flagged(device)], [[], []]);
  });

  it("tells of a clock that says years ago though its mark has just said otherwise, and not before the first mark", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    nowS += DAY;
    appendDated(device, [nowS - 3000 * DAY]);
    await markNow(device);
    appendDated(device, [nowS - 3000 * DAY]);
    await bring(device, 1);
    const [only, ...more] = told;
    assert.deepEqual([only?.seq, only?.records, more], [3, 1, []]);
    const { backdated } = await view(device, 3);
    assert.deepEqual(backdated, { dated_ms: (nowS - 3000 * DAY) * 1000, not_before_ms: nowS * 1000 });
    // The same bytes again are no news.
    await bring(device, 1);
    assert.equal(told.length, 1);
  });

  it("goes by its own trees where a mark lies about the time: the mark is told of, and what follows it", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    nowS += 100 * DAY;
    // Another device's records come meanwhile, so that there is a tree of today.
    const other = await started.device({}, nowS * 1000);
    await publish();
    other.appendReading(1);
    await bring(other, 1);
    await publish();
    const { tree, timeS } = await hear(device);
    appendMarkOf(device, tree, timeS - 90 * DAY);
    appendDated(device, [nowS - 90 * DAY]);
    await bring(device, 1);
    assert.deepEqual(await flagged(device), [1, 2]);
  });

  it("tells nothing by a tree that it has not published", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    const { tree, timeS } = await hear(device);
    appendMarkOf(device, { size: tree.size, root: new Uint8Array(32).fill(1) }, timeS);
    appendMarkOf(device, { size: tree.size + 1, root: tree.root }, timeS);
    appendDated(device, [nowS - 300 * DAY]);
    await bring(device, 1);
    assert.deepEqual([told, await flagged(device)], [[], []]);
  });

  it("tells nothing of honest records that came after its own clock was set back", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    nowS += 40 * DAY;
    await markNow(device);
    await bring(device, 1);
    nowS -= 40 * DAY;
    for (let hour = 0; hour < 5; hour++) {
      nowS += HOUR;
      appendDated(device, [nowS]);
      await markNow(device);
    }
    await bring(device, 2);
    assert.deepEqual([told, await flagged(device)], [[], []]);
  });

  itOfSqlite("tells nothing of honest records that it hears of after an older database was put back", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    await started.relay.close();
    const { store } = pathsOf(started.folder);
    const copy = join(started.folder, "store.copy");
    copyFileSync(store, copy);
    await started.reopen(options);
    device.appendReading(1);
    await bring(device, 1);
    nowS += HOUR;
    await publish();
    // What the copy does not know: this tree, and when it was published.
    await markNow(device);
    appendDated(device, [nowS + MINUTE]);
    nowS += 90 * DAY;
    await started.relay.close();
    for (const end of ["", "-wal", "-shm"]) rmSync(`${store}${end}`, { force: true });
    copyFileSync(copy, store);
    await started.reopen(options);
    await bring(device, 1);
    assert.deepEqual([told, await flagged(device)], [[], []]);
    // And it goes on to find what is one.
    await publish();
    await markNow(device);
    appendDated(device, [nowS - 60 * DAY]);
    await bring(device, 1);
    assert.deepEqual(await flagged(device), [device.chain.length - 1]);
  });

  it("remembers beacons over a restart", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    nowS += DAY;
    await markNow(device);
    await bring(device, 1);
    await started.restart(options);
    appendDated(device, [nowS - 3 * DAY]);
    await bring(device, 2);
    assert.deepEqual(
      told.map(({ seq }) => seq),
      [2],
    );
  });

  it("takes a mark that fills a hole for a beacon of what stands behind it", async () => {
    const device = await started.device({}, nowS * 1000);
    device.appendReading(1);
    await bring(device, 1);
    await publish();
    nowS += DAY;
    await markNow(device);
    appendDated(device, [nowS - 10 * DAY]);
    device.append(Kind.gap, gapOver(device, 2));
    device.read(await device.sendBytes(started.url, device.chain[4]!, device.chain[3]!), started.key);
    assert.equal((await view(device, 3)).backdated, undefined);
    await bring(device, 2);
    assert.ok((await view(device, 3)).backdated);
    appendDated(device, [nowS - 10 * DAY]);
    await bring(device, 5);
    assert.deepEqual(
      told.map(({ seq }) => seq),
      [5],
    );
  });

  it("lets such a mark outdo one behind it that names less", async () => {
    const device = await started.device({}, nowS * 1000);
    device.appendReading(1);
    await bring(device, 1);
    await publish();
    const old = await hear(device);
    nowS += 50 * DAY;
    await markNow(device);
    appendMarkOf(device, old.tree, nowS - 40 * DAY);
    appendDated(device, [nowS - 20 * DAY]);
    device.append(Kind.gap, gapOver(device, 2));
    device.read(await device.sendBytes(started.url, device.chain[5]!, ...device.chain.slice(3, 5)), started.key);
    assert.deepEqual((await view(device, 4)).backdated, undefined);
    await bring(device, 2);
    // The mark that it outdoes is itself dated before it.
    assert.deepEqual(await flagged(device), [3, 4]);
  });

  it("holds what fills a hole against the marks before it, and no others", async () => {
    const device = await started.device({}, nowS * 1000);
    device.appendReading(1);
    await bring(device, 1);
    await publish();
    nowS += 50 * DAY;
    // Into each hole what is dated alike, 2 and 5: behind the mark at 3 that is false.
    appendDated(device, [nowS - 20 * DAY]);
    await markNow(device);
    device.append(Kind.gap, gapOver(device, 2));
    appendDated(device, [nowS - 20 * DAY]);
    appendDated(device, [nowS]);
    device.append(Kind.gap, gapOver(device, 5));
    const { chain } = device;
    device.read(await device.sendBytes(started.url, chain[4]!, chain[3]!, chain[4]!), started.key);
    device.read(await device.sendBytes(started.url, chain[7]!, chain[6]!, chain[7]!), started.key);
    await bring(device, 2);
    assert.deepEqual(
      told.map(({ seq }) => seq),
      [5],
    );
    assert.deepEqual(await flagged(device), [5]);
  });

  it("shows it to whoever asks for evidence: the file holds the mark, and is false", async () => {
    const device = await started.device({}, nowS * 1000);
    await publish();
    nowS += DAY;
    await markNow(device);
    appendDated(device, [nowS]);
    appendDated(device, [nowS - 10 * DAY]);
    await bring(device, 1);
    await publish();
    const { logKey } = started.relay.identity;
    const require = ["signature", "device", "logged", "dated"];
    const policy = { log: logKey, devices: [didKey(device.identity.publicKey)], require };
    const read = must(readPolicy(sha256, JSON.stringify(policy)));
    const verdicts: string[] = [];
    for (const seq of [2, 3]) {
      const { bytes } = await get(`${started.url}/v1/records/${idOf(device, seq)}/evidence`);
      const report = must(verifyEvidence(relayCrypto, bytes, read));
      assert.deepEqual(
        report.records.map(({ record }) => record.header.seq),
        [seq, 0, 1],
      );
      const step = report.steps.find(({ requirement }) => requirement === "dated");
      assert.deepEqual(
        [step?.subject, step?.failure?.code],
        [idOf(device, seq), seq === 3 ? "RECORD_BACKDATED" : undefined],
      );
      verdicts.push(report.verdict);
    }
    assert.deepEqual(verdicts, ["proved", "false"]);
  });

  it("tells whom webhooks go to, and counts it", async () => {
    await started.close();
    const receiver = await startReceiver();
    started = await StartedRelay.start({
      ...options,
      metrics: { port: 0 },
      webhooks: {
        url: `http://127.0.0.1:${receiver.port}/`,
        secret: new Uint8Array(randomBytes(32)),
        allowInsecure: true,
        allowAddresses: ["127.0.0.1"],
      },
    });
    try {
      const device = await started.device({}, nowS * 1000);
      await publish();
      nowS += DAY;
      await markNow(device);
      for (let i = 0; i < 3; i++) appendDated(device, [nowS - 10 * DAY]);
      await bring(device, 1);
      await receiver.came(1);
      const { event, kid, details } = JSON.parse(receiver.received[0]!.body.toString());
      assert.deepEqual([event, kid, details.records, details.seq], ["backdated", device.kid, 3, 2]);
      assert.equal(details.code, "RECORD_BACKDATED");
      const metrics = await (await fetch(started.relay.operation.metricsUrl!)).text();
      assert.match(metrics, /^tallystick_records_backdated_total 3$/m);
    } finally {
      await receiver.close();
    }
  });
});
