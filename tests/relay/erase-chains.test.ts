import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { encodeGap } from "tallystick/record/gap";
import { GapBuilder } from "tallystick/record/gap-summary";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { FixtureDevice, get } from "../fixtures/device.js";
import { filesWith } from "./files-with.js";
import { failureOf, must, StartedRelay } from "./started.js";

const { sha256 } = relayCrypto;

/** Chains with holes, and chains that have ended: what of them may be erased, and how they go on. */
describe("relay: bodies erased of chains that are not whole", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  beforeEach(async () => {
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(5);
    device.read(await device.send(started.url), started.key);
  });
  afterEach(() => started.close());

  const idOf = (seq: number) => recordId(sha256, device.chain[seq]!);
  const erase = (from: number, to = from) => {
    const request = { kid: device.identity.kid, from, to, reason: "asked", by: "operator" };
    return eraseInFolder(started.folder, request, { decided: true });
  };
  const refusal = async (from: number, to = from) => failureOf(await erase(from, to));

  async function clean(): Promise<void> {
    assert.deepEqual(must(await examineFolder(started.folder)).findings, []);
  }

  it("with a hole: neither its gap record nor what stands right above it; what is below, and what fills it, are taken", async () => {
    device.appendReadings(6);
    const builder = new GapBuilder(sha256, 6);
    for (let seq = 6; seq <= 8; seq++) must(builder.add(idOf(seq), device.parse(device.chain[seq]!)));
    device.append(Kind.gap, encodeGap(builder.build()));
    device.appendReading(30);
    const late = device.chain.slice(6, 9);
    device.read(await device.sendBytes(started.url, device.chain[12]!, ...device.chain.slice(9)), started.key);
    await started.settled();

    const gap = await refusal(10, 12);
    assert.equal(gap.code, "ERASURE_REFUSED");
    assert.match(gap.detail, /gap record.*seq 12/);
    assert.match((await refusal(9)).detail, /right above a hole.*seq 9/);
    must(await erase(4, 5));
    await clean();
    // The first of the hole is held against what is kept of the erased record below it, the last against its neighbour.
    device.read(await device.sendBytes(started.url, late[0]!), started.key);
    device.read(await device.sendBytes(started.url, late[2]!), started.key);
    device.read(await device.sendBytes(started.url, late[1]!), started.key);
    await started.settled();
    await clean();
    must(await erase(6, 11));
    assert.deepEqual(filesWith(started.folder, [...device.chain.slice(4, 12)]), []);
    await clean();
    device.appendReading(31);
    device.read(await device.send(started.url, 14), started.key);
    await started.settled();
    assert.equal((await get(`${started.url}/v1/records/${toHex(idOf(14))}/evidence`)).status, 200);
  });

  it("that a succession has closed: its head, too, and what came late behind it, which goes on coming", async () => {
    const head = { seq: device.head.seq, id: device.head.id };
    const next = await started.succeed(device, head);
    await started.settled();

    must(await erase(head.seq));
    device.appendReadings(3);
    device.read(await device.send(started.url, head.seq + 1), started.key);
    const erased = must(await erase(head.seq, head.seq + 3));
    assert.deepEqual([erased.records, erased.already], [3, 1]);
    assert.deepEqual(filesWith(started.folder, device.chain.slice(head.seq)), []);
    await clean();
    device.appendReading(40);
    device.read(await device.send(started.url, head.seq), started.key);
    const { store } = started.relay;
    const { device: number } = store.deviceByKid(device.identity.kid)!;
    assert.equal(store.successions.countLate(number), 4, "the next follows what is kept of the erased");
    const late = (from: number) => fetch(`${started.url}/v1/devices/${device.kid}/late?from=${from}`);
    assert.equal((await late(0)).status, 410);
    assert.deepEqual(new Uint8Array(await (await late(head.seq + 4)).arrayBuffer()), device.chain[head.seq + 4]);
    next.appendReading(1);
    next.read(await next.send(started.url, 1), started.key);
    await started.restart();
    await started.settled();
    await clean();
  });

  it("that a rotation has ended: not the rotate record", async () => {
    device.appendRotate(new FixtureDevice({ crypto: relayCrypto }).identity.publicKey);
    device.read(await device.send(started.url, 6), started.key);
    await started.settled();
    assert.match((await refusal(5, 6)).detail, /no rotate record, which hands the key on, received one at seq 6/);
    must(await erase(5));
    await clean();
  });
});
