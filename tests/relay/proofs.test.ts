import assert from "node:assert/strict";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import { follow, openCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { unpackBundle } from "tallystick/log/tile";
import { emptyRoot } from "tallystick/merkle/merkle";
import { verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { splitRecords } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { LOG_WITHIN_S } from "../../hosts/relay/relay.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { must, StartedRelay } from "./started.js";

const { sha256 } = relayCrypto;

describe("relay: acknowledgements and proofs", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  beforeEach(async () => {
    // No checkpoint but those that a test asks for.
    started = await StartedRelay.start({ batchIntervalMs: 3_600_000 });
    device = await started.device();
  });
  afterEach(() => started.close());

  const logKey = () => must(parseVerifierKey(sha256, started.relay.identity.logKey));
  const id = (seq: number) => recordId(sha256, device.chain[seq]!);

  async function json(path: string): Promise<Record<string, unknown>> {
    const answer = await get(`${started.url}${path}`, { accept: "application/json" });
    assert.equal(answer.status, 200, JSON.stringify(answer.problem));
    return JSON.parse(Buffer.from(answer.bytes).toString());
  }

  it("promises a time for what is not logged yet, and withdraws it once it is", async () => {
    device.appendReadings(2);
    const beforeMs = Date.now();
    const first = device.read(await device.send(started.url), started.key);
    assert.equal(first.received?.seq, 2);
    assert.equal(first.logged, undefined);
    assert.ok(first.logByS! >= Math.floor(beforeMs / 1000) + LOG_WITHIN_S);
    assert.ok(first.logByS! <= Math.ceil(Date.now() / 1000) + LOG_WITHIN_S);
    const again = device.read(await device.send(started.url), started.key);
    assert.equal(again.logByS, first.logByS, "asking again puts it off not a second");
    await started.settled();
    const logged = device.read(await device.askHead(started.url), started.key);
    assert.equal(logged.logged?.seq, 2);
    assert.equal(toHex(logged.logged.id), toHex(id(2)));
    assert.equal(logged.logByS, undefined);
    assert.equal(logged.final, undefined, "there is no ledger");
  });

  it("repeats the nonce, and names the device and the pinned size", async () => {
    const request = device.request();
    const acknowledgement = device.read(await device.askHead(started.url, request), started.key);
    assert.deepEqual(acknowledgement.nonce, request.nonce);
    assert.deepEqual(acknowledgement.kid, device.identity.kid);
    assert.equal(acknowledgement.pinnedSize, request.pinnedSize);
    assert.ok(Math.abs(acknowledgement.timeMs - Date.now()) < 60_000);
  });

  it("leads a device from each pinned checkpoint to the newest", async () => {
    let pinned: TreeHead | undefined;
    const seen: TreeHead[] = [{ size: 0, root: emptyRoot(sha256) }];
    for (let round = 0; round < 6; round++) {
      device.appendReadings(round + 1);
      device.read(await device.send(started.url, device.chain.length - round - 1), started.key);
      await started.settled();
      for (const old of seen) {
        device.pinnedSize = old.size;
        const { checkpoint, consistency } = device.read(await device.askHead(started.url), started.key);
        const opened = must(openCheckpoint(relayCrypto, utf8(checkpoint), logKey()));
        pinned = must(follow(sha256, old.size === 0 ? undefined : old, opened, consistency));
      }
      seen.push(pinned!);
    }
    assert.equal(pinned?.size, 1 + device.chain.length);
  });

  it("tells a device that knows a larger log that it was set back, and takes nothing", async () => {
    device.pinnedSize = 1000;
    assert.equal((await device.askHead(started.url)).problem?.code, "RELAY_BEHIND");
    device.appendReadings(1);
    assert.equal((await device.send(started.url)).problem?.code, "RELAY_BEHIND");
    assert.equal(started.relay.store.countRecords(), 1);
  });

  it("gives a device its own records back, page by page", async () => {
    device.appendReadings(400);
    for (let from = 1; from < device.chain.length; from += 200)
      device.read(await device.send(started.url, from, from + 199), started.key);
    const pages: Uint8Array[] = [];
    let requests = 0;
    while (pages.length < device.chain.length) {
      const answer = await get(`${started.url}/v1/devices/${device.kid}/records?from=${pages.length}`);
      assert.equal(answer.type, "application/cbor-seq");
      assert.ok(answer.bytes.length <= 65_536);
      pages.push(...must(splitRecords(answer.bytes)));
      requests++;
    }
    assert.ok(requests > 1);
    assert.deepEqual(pages.map(toHex), device.chain.map(toHex));
    const three = await get(`${started.url}/v1/devices/${device.kid}/records?from=5&to=7`);
    assert.deepEqual(must(splitRecords(three.bytes)).map(toHex), device.chain.slice(5, 8).map(toHex));
    assert.equal((await get(`${started.url}/v1/devices/${device.kid}/records?from=401`)).bytes.length, 0);
  });

  it("serves a record as its bytes, and as a view for those who ask", async () => {
    device.appendReading(20.25);
    device.read(await device.send(started.url), started.key);
    const path = `/v1/records/${toHex(id(1))}`;
    const answer = await get(`${started.url}${path}`);
    assert.equal(answer.type, 'application/cose; cose-type="cose-sign1"');
    assert.equal(toHex(answer.bytes), toHex(device.chain[1]!));
    const view = await json(path);
    assert.equal(view["kind"], "readings");
    assert.equal(view["seq"], 1);
    assert.equal(view["kid"], device.kid);
    assert.equal(view["prev"], toHex(id(0)));
    assert.deepEqual(view["readings"], [{ name: "temperature", unit: "Cel", value: 20.25, time_s: -1 }]);
    assert.equal(view["log_index"], undefined);
    await started.settled();
    const logged = await json(path);
    assert.equal(logged["log_index"], 2);
    assert.equal(typeof logged["logged_at_ms"], "number");
    const genesis = await json(`/v1/records/${toHex(id(0))}`);
    assert.equal((genesis["payload"] as Record<string, unknown>)["2"], "fixture");
  });

  it("gives a receipt that verifies, once there is one", async () => {
    device.appendReadings(4);
    device.read(await device.send(started.url), started.key);
    const path = `${started.url}/v1/records/${toHex(id(3))}/receipt`;
    const early = await get(path);
    assert.equal(early.problem?.code, "RECORD_NOT_LOGGED");
    assert.ok(Number(early.headers.get("retry-after")) > 0);
    await started.settled();
    const { bytes, type } = await get(path);
    assert.equal(type, 'application/cose; cose-type="cose-sign1"');
    const proved = must(verifyInclusionReceipt(relayCrypto, logKey().publicKey, bytes, id(3)));
    assert.equal(proved.index, 4);
    assert.equal(proved.size, 6);
    assert.equal(verifyInclusionReceipt(relayCrypto, logKey().publicKey, bytes, id(2)).ok, false);
  });

  it("gives evidence that verifies offline, as far as there is something to prove", async () => {
    device.appendReadings(4);
    device.read(await device.send(started.url), started.key);
    const path = `${started.url}/v1/records/${toHex(id(3))}/evidence`;
    assert.equal((await get(path)).problem?.code, "RECORD_NOT_LOGGED");
    await started.settled();
    const policy = (require: string[]) =>
      must(
        readPolicy(
          sha256,
          JSON.stringify({
            log: started.relay.identity.logKey,
            devices: [view["did"]],
            require,
          }),
        ),
      );
    const view = await json(`/v1/devices/${device.kid}`);
    const { bytes } = await get(path);
    const report = must(verifyEvidence(relayCrypto, bytes, policy(["signature", "device", "logged"])));
    assert.equal(report.verdict, "proved", JSON.stringify(report.steps));
    assert.deepEqual(
      report.records.map((record) => toHex(record.id)),
      [toHex(id(3)), toHex(id(0))],
    );
    const anchored = must(verifyEvidence(relayCrypto, bytes, policy(["anchored"])));
    assert.equal(anchored.verdict, "incomplete");
    const genesis = await get(`${started.url}/v1/records/${toHex(id(0))}/evidence`);
    assert.equal(must(verifyEvidence(relayCrypto, genesis.bytes, policy(["device"]))).verdict, "proved");
  });

  it("publishes the log as static files that any tile client reads", async () => {
    device.appendReadings(299);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    const checkpoint = await get(`${started.url}/checkpoint`);
    assert.equal(checkpoint.type, "text/plain; charset=utf-8");
    assert.equal(must(openCheckpoint(relayCrypto, checkpoint.bytes, logKey())).size, 301);
    const full = await get(`${started.url}/tile/entries/000`);
    const rest = await get(`${started.url}/tile/entries/001.p/45`);
    assert.match(full.headers.get("cache-control")!, /immutable/);
    const entries = [...must(unpackBundle(full.bytes, 256)), ...must(unpackBundle(rest.bytes, 45))];
    assert.deepEqual(entries.slice(1).map(toHex), device.chain.map(toHex));
    const hashes = await get(`${started.url}/tile/0/001.p/45`);
    assert.equal(hashes.bytes.length, 45 * 32);
    assert.equal(toHex(hashes.bytes.slice(44 * 32)), toHex(id(299)));
  });

  it("shows each device on the ladder", async () => {
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    device.appendReading(1);
    device.read(await device.send(started.url, 4), started.key);
    const second = await started.device();
    const view = await json(`/v1/devices/${device.kid}`);
    const received = view["received"] as { seq: number; id: string; count: number; at_ms: number };
    assert.deepEqual({ ...received, at_ms: 0 }, { seq: 4, id: toHex(id(4)), count: 5, at_ms: 0 });
    assert.equal((view["logged"] as { seq: number }).seq, 3);
    assert.equal(view["final"], undefined);
    assert.equal(view["state"], "active");
    const all = await json("/v1/devices");
    assert.equal(all["total"], 2);
    const kids = (all["devices"] as { kid: string }[]).map(({ kid }) => kid);
    assert.deepEqual(kids, [device.kid, second.kid].sort());
    const first = await json("/v1/devices?limit=1");
    assert.equal(first["next"], kids[0]);
    const next = await json(`/v1/devices?limit=1&after=${first["next"]}`);
    assert.deepEqual(
      (next["devices"] as { kid: string }[]).map(({ kid }) => kid),
      kids.slice(1),
    );
    assert.equal(next["next"], undefined);
  });

  it("says who it is", async () => {
    const view = await json("/v1/relay");
    assert.equal(view["origin"], started.relay.identity.origin);
    assert.equal(view["device_key"], toHex(started.key));
    assert.equal(view["log_key"], started.relay.identity.logKey);
    assert.equal(view["ledger"], undefined);
  });

  it("keeps indices, ids and keys over a restart", async () => {
    device.appendReadings(5);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    const before = await json(`/v1/records/${toHex(id(4))}`);
    const relay = await json("/v1/relay");
    await started.restart();
    assert.deepEqual(await json(`/v1/records/${toHex(id(4))}`), before);
    assert.deepEqual(await json("/v1/relay"), relay);
  });
});
