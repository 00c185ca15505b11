import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { recordId } from "tallystick/record/record";
import { readPin } from "tallystick/sync/acceptance";
import { type RelayPins, readRelayPins, writeRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { Relay } from "../../hosts/relay/relay.js";
import type { NetworkAnswer } from "../../hosts/simulator/world/network.js";
import { change, changeAndRestart, loseKeys, RECOVERY, startRecoverable, stolen } from "../relay/key-change.js";
import { failureOf, must, type StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const FLEET = 20;

/**
 * A fleet, and a relay whose keys change under it, are lost and are stolen. Whatever was committed is at the relay in the
 * end, in its log, with the same bytes; no device is enrolled anew.
 */
describe("a fleet whose relay's keys change", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  let fleet: Bench[];

  before(async () => {
    started = await startRecoverable();
    fleet = Array.from({ length: FLEET }, (_, i) => new Bench({ seed: 700 + i }));
    for (const bench of fleet) bench.provision(started);
    // One whose provisioning knew of no recovery key.
    const { recoveryKey, ...pins } = started.pins;
    assert.ok(recoveryKey);
    writeRelayPins(unrecoverable().keys, pins);
  });
  after(async () => {
    for (const bench of fleet) await bench.close();
    await started.close();
  });

  const unrecoverable = () => fleet[FLEET - 1]!;
  const pinsOf = (bench: Bench): RelayPins => must(readRelayPins(bench.keys, crypto.sha256));

  const pinnedSize = (bench: Bench) => must(readPin(bench.keys))?.size ?? 0;

  async function grow(benches: readonly Bench[], by = 3): Promise<void> {
    for (const bench of benches) {
      const goal = bench.headSeq + by;
      await bench.until("records", () => bench.headSeq >= goal);
    }
  }

  /** Everything is at the relay, in its log, and the pins are the relay's newest. */
  async function settled(benches: readonly Bench[]): Promise<void> {
    for (const bench of benches) {
      bench.connect(started.url);
      await bench.until("the newest pins", () => pinsOf(bench).generation === started.pins.generation);
      await bench.checkNothingLost(started);
      const { tree, ...pins } = pinsOf(bench);
      assert.equal(tree, undefined, "nothing leads back behind the newest checkpoint");
      const { generation, deviceKey, logKey } = pins;
      assert.deepEqual([generation, toHex(deviceKey)], [started.pins.generation ?? 0, toHex(started.key)]);
      assert.equal(toHex(logKey.publicKey), toHex(started.relay.log.key.publicKey));
      const device = started.relay.store.deviceByKid(Buffer.from(bench.kid, "hex"))!;
      for (const { bytes } of started.relay.store.recordsBetween(device.device, 0, bench.level("logged"))) {
        const { logIndex } = started.relay.store.recordById(recordId(crypto.sha256, bytes))!;
        assert.ok(logIndex !== undefined);
        assert.deepEqual(must(await started.relay.log.entry(logIndex)), bytes);
      }
    }
  }

  const followedOf = (bench: Bench) =>
    bench.lines.flatMap((line) => /event=relay-key generation=(\d+) kid=[0-9a-f]{16}$/.exec(line)?.[1] ?? []);

  it("twice by its own word, the log's key too: online, offline, off, with records under way", async () => {
    const [online, offline, off, sending, late] = [
      fleet.slice(0, 6),
      fleet.slice(6, 10),
      fleet.slice(10, 13),
      fleet.slice(13, 16),
      fleet.slice(16, 18),
    ];
    const early = [...online, ...offline, ...off, ...sending, ...fleet.slice(18)];
    for (const bench of early) {
      bench.connect(started.url);
      await bench.powerOn();
    }
    await grow(early);
    await settled(early);

    for (const bench of offline) bench.disconnect();
    for (const bench of off) await bench.cutPower();
    const underWay: (() => Promise<NetworkAnswer>)[] = [];
    for (const bench of sending) {
      const { target } = bench.network;
      bench.network.target = {
        async request(request, signal) {
          if (!request.path.endsWith("/records")) return target!.request(request, signal);
          // Sent, and on its way for as long as it takes the relay to come back.
          underWay.push(() => bench.network.target!.request(request, new AbortController().signal));
          return { outcome: "timed-out", detail: "lost" };
        },
      };
      await bench.until("a sending", () => underWay.length > 0 && bench.codes.includes("TRANSPORT_FAILED"));
    }
    await grow([...offline, ...sending]);

    await changeAndRestart(started);
    assert.equal(started.pins.generation, 1);
    for (const bench of sending) bench.connect(started.url);
    for (const deliver of underWay) await deliver();
    await settled([...online, ...sending]);
    for (const bench of [...online, ...sending]) assert.deepEqual(followedOf(bench), ["1"]);
    assert.ok(online.every(({ codes }) => codes.every((code) => code === "TRANSPORT_FAILED")));

    const logKeyBefore = started.relay.identity.logKey;
    await changeAndRestart(started, { withLogKey: true });
    assert.notEqual(started.relay.identity.logKey, logKeyBefore);
    // Provisioned with the first keys, and turned on only now: they enrol by what they follow.
    for (const bench of [...off, ...late]) {
      bench.connect(started.url);
      await bench.powerOn();
    }
    await grow([...off, ...late]);
    await settled(fleet);
    for (const bench of [...offline, ...off, ...late]) assert.deepEqual(followedOf(bench), ["2"], "one write for both");
    for (const bench of [...online, ...sending]) assert.deepEqual(followedOf(bench), ["1", "2"]);
  });

  it("whose keys are lost: the recovery key names others; who has none pinned waits for a person", async () => {
    await started.relay.close();
    loseKeys(started.folder);
    assert.equal(failureOf(await Relay.open({ dataDir: started.folder })).code, "RELAY_KEY_MISSING");
    await change(started.folder, { recovery: RECOVERY, withLogKey: true });
    await started.reopen();
    assert.equal(started.pins.generation, 1024);
    await settled(fleet.slice(0, -1));

    const bench = unrecoverable();
    const pins = toHex(bench.keys.read("relay")!);
    const told = bench.codes.length;
    const head = bench.headSeq;
    bench.connect(started.url);
    await bench.until(
      "refusals",
      () => bench.codes.slice(told).filter((code) => code === "RELAY_KEY_FALSE").length > 2,
    );
    await bench.until("records meanwhile", () => bench.headSeq > head + 2);
    assert.equal(toHex(bench.keys.read("relay")!), pins);
    assert.ok(started.relay.store.deviceByKid(Buffer.from(bench.kid, "hex")));
    await bench.cutPower();
    writeRelayPins(bench.keys, started.pins);
    await bench.powerOn();
    await settled([bench]);
  });

  it("whose folder was stolen: who followed the thief to another tree comes back", async () => {
    const [robbed, apart] = [fleet.slice(0, 5), fleet.slice(5)];
    for (const bench of robbed) bench.disconnect();
    // A copy of a folder in use is no sound one: the thief takes his from a relay at rest.
    await started.relay.close();
    const folder = stolen(started);
    await started.reopen();
    await change(folder.path, { withLogKey: true });
    const thief = must(await Relay.open({ dataDir: folder.path, batchIntervalMs: 20 }));
    try {
      for (const bench of robbed) {
        bench.connect(thief.url);
        await bench.until("a promise of the thief's", () => followedOf(bench).at(-1) === "1025");
        const goal = bench.headSeq;
        await bench.until("all received by the thief", () => bench.level("received") >= goal);
      }
      await thief.log.sequence();
      for (const bench of robbed) {
        await bench.until("his tree pinned", () => pinnedSize(bench) > started.relay.log.head.size);
        bench.disconnect();
      }
      assert.ok(thief.log.head.size > started.relay.log.head.size, "his tree is the longer one");

      // The honest relay goes on meanwhile, and is another tree than his.
      await settled(apart.slice(0, 3));
      await changeAndRestart(started, { recovery: RECOVERY, withLogKey: true });
      assert.equal(started.pins.generation, 2048);
      await settled(fleet);
      for (const bench of robbed) {
        assert.deepEqual(followedOf(bench).slice(-2), ["1025", "2048"]);
        const told = ["CONSISTENCY_FALSE", "CHECKPOINT_STALE", "RELAY_BEHIND"];
        assert.ok(
          bench.codes.some((code) => told.includes(code)),
          "that it was shown two trees is said",
        );
      }
      // He has the key of a generation that is over: what he says leads nowhere any more.
      const bench = robbed[0]!;
      bench.connect(thief.url);
      const told = bench.codes.length;
      const said = bench.lines.length;
      await bench.until("refusals", () => bench.codes.length > told + 3);
      const believed = bench.lines.slice(said).filter((line) => /event=(acknowledged|relay-key)/.test(line));
      assert.deepEqual(believed, []);
      assert.deepEqual(pinsOf(bench).deviceKey, started.key);
    } finally {
      await thief.close();
      folder.remove();
    }
    await settled(fleet);
    assert.equal(started.relay.store.devicesAfter(new Uint8Array(0), 100).length, FLEET, "none was enrolled anew");
    for (const bench of fleet) assert.equal(bench.keys.read("succession"), undefined);
    for (const bench of fleet) assert.ok(bench.lines.filter((line) => line.includes("event=key ")).length === 1);
  });
});
