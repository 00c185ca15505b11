import assert from "node:assert/strict";
import { fromHex } from "tallystick/bytes/bytes";
import { StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const MINUTE = 60_000;

/** What a device does whose key the relay's operator holds back, or has revoked. */
describe("a device whose key does not count at its relay", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  let bench: Bench;
  let seed = 60_000;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(async () => {
    bench = new Bench({ seed: seed++, sectors: 64 });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.level("received") >= 4);
  });
  afterEach(() => bench.close());

  const kid = () => fromHex(bench.kid)!;

  it("records on while it is held back, asks seldom, and loses nothing when it may go on", async () => {
    started.operate((operator) => operator.decide(kid(), "hold"));
    await bench.until("the refusal", () => bench.codes.includes("DEVICE_FORKED"));
    const asked = bench.network.requests.length;
    const head = bench.headSeq;
    await bench.run(20 * MINUTE);
    assert.ok(bench.headSeq > head + 300, "it records on");
    // The relay tells it to come again after 5 minutes; each time it asks where the relay stands first.
    assert.ok(bench.network.requests.length <= asked + 2 * 4, `${bench.network.requests.length - asked} requests`);
    await bench.cutPower();
    await bench.powerOn();
    await bench.run(MINUTE);
    started.operate((operator) => operator.decide(kid(), "continue"));
    await bench.checkNothingLost(started);
  });

  it("records on behind a revocation, and nothing of it is taken", async () => {
    const from = bench.level("received") + 3;
    started.operate((operator) => operator.revoke(kid(), { fromSeq: from }));
    await bench.until("the refusal", () => bench.codes.includes("KEY_REVOKED"));
    const head = bench.headSeq;
    await bench.run(2 * MINUTE);
    assert.ok(bench.headSeq > head + 10, "it records on");
    assert.equal(started.relay.store.head(started.relay.store.deviceByKid(kid())!.device).seq, from - 1);
    assert.equal(bench.level("received"), from - 1, "what was before it is acknowledged");
  });
});
