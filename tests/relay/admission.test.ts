import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { MAKERS_MAX } from "tallystick/record/maker";
import { encodeEnrolment, leaveOf } from "tallystick/sync/messages";
import { Challenges } from "../../hosts/relay/challenge.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { enrolDevice } from "../../hosts/relay/enrolment.js";
import { Relay } from "../../hosts/relay/relay.js";
import { type Answer, FixtureDevice, get } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { dumpOf } from "./dump.js";
import { MANY_ATTEMPTS, ORIGIN, StartedRelay, temporaryFolder } from "./started.js";

const attempts = MANY_ATTEMPTS;
const maker = new FixtureMaker(relayCrypto);
const second = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x51));
const stranger = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x66));

function refused(answer: Answer, code: string): void {
  assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem ?? answer.status));
}

function vouchedBy(by: FixtureMaker): FixtureDevice {
  return new FixtureDevice({ crypto: relayCrypto, genesis: (key) => ({ statement: by.vouch(key) }) });
}

describe("relay: who is let in", () => {
  let started: StartedRelay;
  afterEach(() => started.close());

  const words = async () => JSON.parse(Buffer.from((await get(`${started.url}/v1/relay`)).bytes).toString()).enrolment;

  it("by default: who has a token, and nobody else", async () => {
    started = await StartedRelay.start({ attempts });
    assert.deepEqual(await words(), ["token"]);
    const device = vouchedBy(maker);
    refused(await device.enrol(started.url, ORIGIN, undefined), "TOKEN_INVALID");
    refused(await device.enrol(started.url, ORIGIN, "open"), "TOKEN_INVALID");
    // What stands in genesis is opaque to a relay that was told of no maker.
    device.read(await device.enrol(started.url, ORIGIN, started.token()), started.key);
  });

  it("by a statement of one of the makers that it was told of, without a token", async () => {
    started = await StartedRelay.start({ attempts, makers: [maker.publicKey, second.publicKey] });
    assert.deepEqual(await words(), ["token", "maker"]);
    for (const by of [maker, second]) {
      const device = vouchedBy(by);
      const acknowledgement = device.read(await device.enrol(started.url, ORIGIN, undefined), started.key);
      assert.equal(toHex(acknowledgement.received!.id), toHex(device.head.id));
      device.appendReading(1);
      assert.equal(device.read(await device.send(started.url), started.key).received?.seq, 1);
    }
    refused(await vouchedBy(stranger).enrol(started.url, ORIGIN, undefined), "MAKER_UNKNOWN");
    refused(await new FixtureDevice({ crypto: relayCrypto }).enrol(started.url, ORIGIN, undefined), "TOKEN_INVALID");
    const tokened = new FixtureDevice({ crypto: relayCrypto });
    tokened.read(await tokened.enrol(started.url, ORIGIN, started.token()), started.key);
  });

  it("once by a statement: the same again is answered as the first, and writes nothing", async () => {
    started = await StartedRelay.start({ attempts, makers: [maker.publicKey] });
    const device = vouchedBy(maker);
    device.read(await device.enrol(started.url, ORIGIN, undefined), started.key);
    await started.settled();
    const before = dumpOf(started);
    device.read(await device.enrol(started.url, ORIGIN, undefined), started.key);
    assert.equal(dumpOf(started), before);
    assert.equal(started.relay.store.countDevices(), 1);
  });

  it("by a statement, a second genesis under the same key is a fork, and one by a stranger's key nothing", async () => {
    started = await StartedRelay.start({ attempts, makers: [maker.publicKey] });
    const seed = new Uint8Array(32).fill(0x21);
    const genesis = (key: Uint8Array) => ({ statement: maker.vouch(key) });
    const first = new FixtureDevice({ crypto: relayCrypto, seed, genesis });
    first.read(await first.enrol(started.url, ORIGIN, undefined), started.key);
    const clone = new FixtureDevice({
      crypto: relayCrypto,
      seed,
      genesis: (key) => ({ ...genesis(key), model: "clone" }),
    });
    refused(await clone.enrol(started.url, ORIGIN, undefined), "CHAIN_FORK");
    // Whoever copies the statement has not the key that it is for.
    const thief = new FixtureDevice({
      crypto: relayCrypto,
      genesis: () => ({ statement: maker.vouch(first.identity.publicKey) }),
    });
    refused(await thief.enrol(started.url, ORIGIN, undefined), "MAKER_MISMATCH");
    assert.equal(started.relay.store.countDevices(), 1);
  });

  it("where it is open: whoever has a key, with any token, any statement, or nothing", async () => {
    started = await StartedRelay.start({ attempts, openEnrolment: true, makers: [maker.publicKey] });
    assert.deepEqual(await words(), ["token", "maker", "open"]);
    const spent = started.token();
    for (const [device, token] of [
      [new FixtureDevice({ crypto: relayCrypto }), undefined],
      [new FixtureDevice({ crypto: relayCrypto }), "open"],
      [new FixtureDevice({ crypto: relayCrypto }), spent],
      [new FixtureDevice({ crypto: relayCrypto }), spent],
      [vouchedBy(stranger), undefined],
      [vouchedBy(maker), undefined],
      [new FixtureDevice({ crypto: relayCrypto, genesis: { statement: Uint8Array.of(1) } }), undefined],
    ] as const)
      device.read(await device.enrol(started.url, ORIGIN, token), started.key);
    const used = started.relay.store.database.prepare("SELECT count(*) FROM tokens WHERE used_by IS NOT NULL").pluck();
    assert.equal(used.get(), 1, "a good token is spent there as anywhere");
  });

  it("where it is open: not without the key, and not by a false word of a maker that it trusts", async () => {
    started = await StartedRelay.start({ attempts, openEnrolment: true, makers: [maker.publicKey] });
    const before = dumpOf(started);
    const device = new FixtureDevice({ crypto: relayCrypto });
    refused(
      await device.enrol(started.url, ORIGIN, undefined, (parts) => {
        parts.possession = new FixtureDevice({ crypto: relayCrypto }).possession({
          origin: ORIGIN,
          challenge: new Uint8Array(32),
          leaveSha256: relayCrypto.sha256(leaveOf(undefined, undefined)),
        });
      }),
      "POSSESSION_UNPROVED",
    );
    refused(await device.enrol(started.url, "relay.example/other", undefined), "POSSESSION_UNPROVED");
    // The proof is over what came: a token cannot be added or taken away on the way.
    refused(
      await device.enrol(started.url, ORIGIN, undefined, (parts) => {
        parts.token = Uint8Array.of(1);
      }),
      "POSSESSION_UNPROVED",
    );
    refused(
      await device.enrol(started.url, ORIGIN, "open", (parts) => {
        delete parts.token;
      }),
      "POSSESSION_UNPROVED",
    );
    const forger = new FixtureDevice({
      crypto: relayCrypto,
      genesis: (key) => ({ statement: maker.vouch(key, { firmwareSha256: new Uint8Array(32) }) }),
    });
    refused(await forger.enrol(started.url, ORIGIN, undefined), "MAKER_MISMATCH");
    assert.equal(dumpOf(started), before);
  });

  it("where it is open: until as many devices are held as it may have; tokens and makers go on", async () => {
    started = await StartedRelay.start({ attempts });
    const { store } = started.relay;
    const challenges = new Challenges(Date.now);
    const enrol = (device: FixtureDevice, token?: Uint8Array) => {
      const leaveSha256 = relayCrypto.sha256(leaveOf(token, undefined));
      const possession = device.possession({ origin: ORIGIN, challenge: challenges.issue(), leaveSha256 });
      return enrolDevice(
        {
          store,
          crypto: relayCrypto,
          nowMs: Date.now,
          challenges,
          origin: ORIGIN,
          admission: { makers: [], open: true, openDevicesMax: 2 },
        },
        encodeEnrolment({ request: device.request(), genesis: device.chain[0]!, possession, ...(token && { token }) }),
        () => undefined,
      );
    };
    const devices = Array.from({ length: 4 }, () => new FixtureDevice({ crypto: relayCrypto }));
    for (const device of devices.slice(0, 2)) assert.ok("device" in enrol(device), "let in");
    const third = enrol(devices[2]!);
    assert.ok("refusal" in third);
    assert.equal(third.refusal.failure.code, "OPEN_ENROLMENT_FULL");
    assert.equal(store.countDevices(), 2);
    assert.ok("device" in enrol(devices[0]!), "who is in already is answered");
    assert.ok("device" in enrol(devices[3]!, new Uint8Array(Buffer.from(started.token()))), "a token");
  });

  it("is not told of more makers than it may have", async () => {
    started = await StartedRelay.start({ attempts });
    const { path, remove } = temporaryFolder();
    const makers = Array.from({ length: MAKERS_MAX + 1 }, () => maker.publicKey);
    await assert.rejects(Relay.open({ dataDir: path, makers }), /makers: expected at most 16, received 17/);
    remove();
  });
});
