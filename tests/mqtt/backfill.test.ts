import assert from "node:assert/strict";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice } from "../fixtures/device.js";
import { checkHeld, httpTransport, provision, SyncingDevice } from "../fixtures/syncing.js";
import { StartedRelay } from "../relay/started.js";
import { needMosquitto } from "./mosquitto.js";
import { StartedBoth } from "./started.js";
import { MqttTransport } from "./transport.js";

/**
 * A device that was offline for a week, one record a minute, brings them over a way that breaks at drawn points. SEED=…
 * draws the same points again; how far each side had come by then is the machine's.
 */
const WEEK_RECORDS = 7 * 24 * 60;
const BREAKS = 24;
/** Batches of the week, about. */
const REQUESTS = 220;
const BACKFILL_MAX_MS = 150_000;
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const RERUN = `rerun: SEED=${SEED} npx mocha tests/mqtt/backfill.test.ts`;

/** Drawn from SEED: mulberry32. */
function drawing(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Which break happens at which request. */
function drawBreaks<Kind extends string>(kinds: readonly Kind[]): Map<number, Kind> {
  const draw = drawing(SEED);
  const drawn = new Map<number, Kind>();
  while (drawn.size < BREAKS) {
    const at = 1 + draw(REQUESTS);
    // Each kind at least once.
    const kind = kinds[drawn.size < kinds.length ? drawn.size : draw(kinds.length)]!;
    if (!drawn.has(at)) drawn.set(at, kind);
  }
  return drawn;
}

describe("a week offline: 10,080 records backfill in order, exactly once", function () {
  this.timeout(BACKFILL_MAX_MS + 30_000);
  let device: FixtureDevice;
  let syncing: SyncingDevice | undefined;

  beforeEach(() => {
    device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReadings(WEEK_RECORDS);
  });
  afterEach(function () {
    syncing?.close();
    if (this.currentTest?.state === "failed") console.log(`      ${RERUN}`);
  });

  async function check(started: () => StartedRelay, seen: ReadonlyMap<string, number>): Promise<void> {
    await syncing!.releasedTo(WEEK_RECORDS, BACKFILL_MAX_MS);
    checkHeld(started().relay, device);
    assert.equal(started().relay.store.countRecords(), 1 + WEEK_RECORDS, "genesis and the week, and nothing else");
    for (const code of syncing!.codes)
      assert.ok(["TRANSPORT_FAILED", "RELAY_STOPPING", "CHAIN_GAP"].includes(code), `${code}; ${RERUN}`);
    const told = [...seen].map(([kind, count]) => `${count} ${kind}`).join(", ");
    assert.ok(seen.size > 0);
    console.log(`      ${WEEK_RECORDS} records over ${told}; SEED=${SEED}`);
  }

  it("over HTTP, with requests and answers that are lost and a relay that is restarted", async () => {
    const started = await StartedRelay.start();
    const breaks = drawBreaks(["lost requests", "lost answers", "repeated requests", "restarts of the relay"]);
    const seen = new Map<string, number>();
    let number = 0;
    let restarting = Promise.resolve();
    const transport = httpTransport(
      () => started.url,
      async (send) => {
        await restarting;
        const kind = breaks.get(++number);
        if (kind) seen.set(kind, (seen.get(kind) ?? 0) + 1);
        if (kind === "lost requests") throw new Error("the cable is out");
        if (kind === "restarts of the relay") restarting = started.restart();
        const response = await send();
        if (kind === "lost answers") throw new Error("the cable is out");
        return kind === "repeated requests" ? await send() : response;
      },
    );
    try {
      syncing = new SyncingDevice(device, provision(started), transport);
      await check(() => started, seen);
      await restarting;
    } finally {
      syncing?.close();
      await restarting;
      await started.close();
    }
  });

  it("over MQTT, with a broker that is killed, and messages that are lost, repeated, late and in another order", async function () {
    needMosquitto(this);
    const both = await StartedBoth.start();
    const transport = new MqttTransport({ port: both.broker.port, kid: device.kid, timeoutMs: 400 });
    const breaks = drawBreaks([
      "lost requests",
      "lost answers",
      "repeated requests",
      "late requests",
      "cuts",
      "broker kills",
      "restarts of the relay",
    ]);
    const seen = new Map<string, number>();
    let number = 0;
    let busy: Promise<void> = Promise.resolve();
    let losesAnswer = false;
    const held: (() => void)[] = [];
    transport.onUp = (publish) => {
      const kind = breaks.get(++number);
      if (kind) seen.set(kind, (seen.get(kind) ?? 0) + 1);
      if (kind === "late requests") held.push(publish);
      else if (kind !== "lost requests") publish();
      if (kind === "repeated requests") publish();
      if (kind === "lost answers") losesAnswer = true;
      if (kind === "cuts") transport.cut();
      if (kind === "broker kills") busy = busy.then(() => both.broker.kill()).then(() => both.broker.run());
      if (kind === "restarts of the relay") busy = busy.then(() => both.started.restart());
      // The newest first, and long after others have followed them.
      if (number % 40 === 0) for (const late of held.splice(0).reverse()) late();
    };
    transport.onDown = (deliver) => {
      if (losesAnswer) losesAnswer = false;
      else deliver();
    };
    try {
      syncing = new SyncingDevice(device, provision(both.started), transport);
      await check(() => both.started, seen);
    } finally {
      syncing?.close();
      await busy;
      await transport.close();
      await both.close();
    }
  });
});
