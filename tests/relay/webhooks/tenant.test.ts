import assert from "node:assert/strict";
import { headOf } from "tallystick/chain/chain";
import { encodeMark } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { FixtureDevice } from "../../fixtures/device.js";
import { enrolmentToken, makeTenant } from "../operator/operators.js";
import { failureOf, ORIGIN, StartedRelay } from "../started.js";
import { type Receiver, startReceiver } from "./receiver.js";

/** `webhooks.tenant` through a whole relay: what its receiver hears of, and what not. */
describe("relay: webhooks of one tenant", () => {
  let receiver: Receiver;
  let started: StartedRelay;

  beforeEach(async () => {
    receiver = await startReceiver();
    started = await StartedRelay.start();
    for (const tenant of ["north", "south"]) makeTenant(started, tenant);
    await started.restart({ webhooks: settings("north") });
  });
  afterEach(async () => {
    await started.close();
    await receiver.close();
  });

  function settings(tenant: string) {
    return {
      url: `http://127.0.0.1:${receiver.port}/hook`,
      secret: new Uint8Array(32).fill(7),
      allowInsecure: true,
      allowAddresses: ["127.0.0.1"],
      tenant,
    };
  }

  async function enrol(tenant: string): Promise<FixtureDevice> {
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.read(await device.enrol(started.url, ORIGIN, enrolmentToken(started, tenant)), started.key);
    device.appendReadings(2);
    device.read(await device.send(started.url, 1), started.key);
    return device;
  }

  async function fork(device: FixtureDevice): Promise<void> {
    const other = device.make(Kind.mark, encodeMark({}), headOf(relayCrypto.sha256, device.parse(device.chain[1]!)));
    assert.equal((await device.sendBytes(started.url, other)).problem?.code, "CHAIN_FORK");
  }

  const told = () => receiver.received.map(({ body }) => JSON.parse(body)).map(({ event, kid }) => [event, kid]);

  it("hear of that tenant's devices, as they are its at that moment, and of nobody else's", async () => {
    const [north, south, moved, left] = [
      await enrol("north"),
      await enrol("south"),
      await enrol("south"),
      await enrol("north"),
    ];
    await fork(south);
    started.operate((operator) => operator.assign(moved.identity.kid, "north"));
    started.operate((operator) => operator.assign(left.identity.kid, "south"));
    await fork(left);
    await fork(moved);
    await fork(north);
    await receiver.came(2);
    // What had been on its way for others would have come by the time that one more has.
    const last = await enrol("north");
    await fork(last);
    await receiver.came(3);
    assert.deepEqual(told().sort(), [north, moved, last].map(({ kid }) => ["fork", kid]).sort());
  });

  it("hear nothing of the relay itself, nor of who is nobody's device", async () => {
    const stranger = new FixtureDevice({ crypto: relayCrypto });
    stranger.appendReadings(2);
    assert.equal((await stranger.send(started.url, 1)).problem?.code, "DEVICE_UNKNOWN");
    started.relay.operation.webhooks!.take({ event: "log-stuck", waitingS: 900 });
    await fork(await enrol("north"));
    await receiver.came(1);
    assert.deepEqual(
      told().map(([event]) => event),
      ["fork"],
    );
  });

  it("do not begin for a tenant that is not there", async () => {
    await started.relay.close();
    const opened = await Relay.open({ dataDir: started.folder, ...started.where, webhooks: settings("nowhere") });
    assert.equal(failureOf(opened).code, "TENANT_UNKNOWN");
    await started.reopen();
  });
});
