import assert from "node:assert/strict";
import { request } from "node:http";
import { encodeEnrolment } from "tallystick/sync/messages";
import {
  ATTEMPT_ADDRESSES_MAX,
  ATTEMPTS_BURST,
  ATTEMPTS_REFILL_MS,
  ATTEMPTS_SHARED_BURST,
  Attempts,
  placeOf,
} from "../../hosts/relay/attempts.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { type Answer, FixtureDevice, post } from "../fixtures/device.js";
import { ORIGIN, StartedRelay } from "./started.js";

const REFILL_S = ATTEMPTS_REFILL_MS / 1000;

describe("attempts to enrol: how often one address may fail", () => {
  let nowMs = 0;
  let attempts: Attempts;
  beforeEach(() => {
    nowMs = 1_000_000;
    attempts = new Attempts({ nowMs: () => nowMs });
  });

  /** Fails as often as it may, and once more. */
  function exhaust(address: string, most = 1000): number {
    let count = 0;
    while (count < most && !attempts.refusal(address)) {
      attempts.failed(address);
      count++;
    }
    return count;
  }

  it("is as often as the burst, then once each refill, with the time to wait", () => {
    assert.equal(exhaust("192.0.2.1"), ATTEMPTS_BURST);
    const refusal = attempts.refusal("192.0.2.1");
    assert.equal(refusal?.failure.code, "ATTEMPTS_EXHAUSTED");
    assert.equal(refusal.retryAfterS, REFILL_S);
    nowMs += ATTEMPTS_REFILL_MS / 3;
    assert.equal(attempts.refusal("192.0.2.1")?.retryAfterS, (REFILL_S * 2) / 3);
    nowMs += (ATTEMPTS_REFILL_MS * 2) / 3;
    assert.equal(attempts.refusal("192.0.2.1"), undefined);
    assert.equal(exhaust("192.0.2.1"), 1);
    nowMs += ATTEMPTS_BURST * ATTEMPTS_REFILL_MS;
    assert.equal(exhaust("192.0.2.1"), ATTEMPTS_BURST);
    nowMs += 1000 * ATTEMPTS_REFILL_MS;
    assert.equal(exhaust("192.0.2.1"), ATTEMPTS_BURST, "no more than the burst is ever saved up");
  });

  it("owes no more than the burst, however many were under way together", () => {
    for (let n = 0; n < 500; n++) attempts.failed("192.0.2.1");
    assert.equal(attempts.refusal("192.0.2.1")?.retryAfterS, REFILL_S);
  });

  it("is counted by IPv4 address and by IPv6 /64", () => {
    exhaust("192.0.2.1");
    assert.ok(attempts.refusal("::ffff:192.0.2.1"), "the same address, as a socket for both families tells it");
    assert.equal(attempts.refusal("192.0.2.2"), undefined);
    exhaust("2001:db8:1:2::1");
    assert.ok(attempts.refusal("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert.ok(attempts.refusal("2001:0DB8:0001:0002::"));
    assert.equal(attempts.refusal("2001:db8:1:3::1"), undefined);
    for (const [address, name] of [
      ["::1", "0:0:0:0::/64"],
      ["::", "0:0:0:0::/64"],
      ["1::", "1:0:0:0::/64"],
      ["fe80::1%eth0", "fe80:0:0:0::/64"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:db8::4:5:6", "2001:db8:0:0::/64"],
      ["1:2:3::5:6:7:8", "1:2:3:0::/64"],
      ["64:ff9b::192.0.2.33", "64:ff9b:0:0::/64"],
      ["192.0.2.33", "192.0.2.33"],
    ] as const)
      assert.equal(placeOf(address).name, name, address);
  });

  it("is forgotten once it is paid back, and not before: many addresses buy nobody a fresh bucket", () => {
    exhaust("192.0.2.1");
    for (let n = 1; n < ATTEMPT_ADDRESSES_MAX; n++) attempts.failed(`2001:db8:${n.toString(16)}::1`);
    assert.equal(attempts.size, ATTEMPT_ADDRESSES_MAX);
    // The table is full: further addresses share what there is, by family.
    let shared = 0;
    while (!attempts.refusal(`2001:db9:${shared.toString(16)}::1`)) {
      attempts.failed(`2001:db9:${shared.toString(16)}::1`);
      shared++;
    }
    assert.equal(shared, ATTEMPTS_SHARED_BURST);
    assert.equal(attempts.size, ATTEMPT_ADDRESSES_MAX);
    assert.ok(attempts.refusal("192.0.2.1"), "the debt of the first is not forgotten");
    assert.equal(attempts.refusal("192.0.2.2"), undefined, "the other family has a bucket of its own");
    assert.equal(attempts.refusal("2001:db8:1::1"), undefined, "who is known has what is left to him");
    // Those who owed one have paid it; the first has not.
    nowMs += ATTEMPTS_REFILL_MS;
    assert.equal(exhaust("2001:dba::1"), ATTEMPTS_BURST);
    assert.equal(attempts.size, 2);
    assert.equal(exhaust("192.0.2.1"), 1);
  });
});

describe("relay: attempts to enrol", () => {
  let started: StartedRelay;
  let nowMs = 1_800_000_000_000;

  beforeEach(async () => {
    started = await StartedRelay.start({ nowMs: () => nowMs });
  });
  afterEach(() => started.close());

  const fail = () => new FixtureDevice({ crypto: relayCrypto }).enrol(started.url, ORIGIN, "no such token");

  function exhausted(answer: Answer): void {
    assert.equal(answer.status, 429, JSON.stringify(answer.problem));
    assert.equal(answer.problem?.code, "ATTEMPTS_EXHAUSTED");
    assert.equal(Number(answer.headers.get("retry-after")), REFILL_S);
  }

  /** As often as it may be. */
  async function exhaust(): Promise<void> {
    for (let n = 0; n < ATTEMPTS_BURST; n++) assert.equal((await fail()).problem?.code, "TOKEN_INVALID");
  }

  it("end in 429 with the time to wait, for an honest device too, until then", async () => {
    const device = new FixtureDevice({ crypto: relayCrypto });
    const token = started.token(nowMs);
    await exhaust();
    exhausted(await fail());
    exhausted(await device.enrol(started.url, ORIGIN, token));
    nowMs += ATTEMPTS_REFILL_MS - 1;
    assert.equal((await device.enrol(started.url, ORIGIN, token)).status, 429);
    nowMs += 1;
    device.read(await device.enrol(started.url, ORIGIN, token), started.key);
  });

  it("cost nothing where they succeed", async () => {
    for (let n = 0; n < 2 * ATTEMPTS_BURST; n++) {
      const device = new FixtureDevice({ crypto: relayCrypto });
      device.read(await device.enrol(started.url, ORIGIN, started.token(nowMs)), started.key);
    }
  });

  it("are refused before the body is read: none need even arrive", async () => {
    await exhaust();
    const url = `${started.url}/v1/devices`;
    exhausted(await post(url, new Uint8Array(70_000)));
    exhausted(await post(url, Uint8Array.of(0xa0), "text/plain"));
    const headers = { "content-type": "application/cbor", "content-length": "500" };
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request(url, { method: "POST", headers }, (response) => {
        resolve(response.statusCode);
        sent.destroy();
      });
      sent.on("error", reject);
      sent.flushHeaders();
    });
    assert.equal(status, 429);
  });

  it("are counted also where the bodies of many come at once, after all were admitted", async () => {
    const body = Buffer.of(0xa0);
    const headers = { "content-type": "application/cbor", "content-length": body.length, expect: "100-continue" };
    const sent = Array.from({ length: 4 * ATTEMPTS_BURST }, () =>
      request(`${started.url}/v1/devices`, { method: "POST", headers }),
    );
    const statuses = sent.map(
      (one) =>
        new Promise<number | undefined>((resolve, reject) => {
          one.on("error", reject).on("response", (response) => resolve(response.resume().statusCode));
        }),
    );
    // The relay says so as it has read the headers.
    await Promise.all(sent.map((one) => new Promise((resolve) => one.on("continue", resolve).flushHeaders())));
    for (const one of sent) one.end(body);
    const left = await Promise.all(statuses);
    assert.equal(left.filter((status) => status === 400).length, ATTEMPTS_BURST);
    assert.equal(left.filter((status) => status === 429).length, 3 * ATTEMPTS_BURST);
  });

  it("are those of successions too", async () => {
    const device = await started.device({}, nowMs);
    const path = `${started.url}/v1/devices/${device.kid}/succession`;
    for (let n = 0; n < ATTEMPTS_BURST - 1; n++)
      assert.equal((await post(path, Uint8Array.of(0xa0))).problem?.code, "MESSAGE_MALFORMED");
    assert.equal(
      (await post(`${started.url}/v1/devices/0011223344556677/succession`, Uint8Array.of(0xa0))).status,
      404,
    );
    exhausted(await post(path, Uint8Array.of(0xa0)));
    exhausted(await post(`${started.url}/v1/devices/0011223344556677/succession`, Uint8Array.of(0xa0)));
    exhausted(await fail());
  });

  it("hold up nobody who is let in already", async () => {
    const device = await started.device({}, nowMs);
    await exhaust();
    exhausted(await fail());
    device.appendReading(1);
    assert.equal(device.read(await device.send(started.url), started.key).received?.seq, 1);
    device.read(await device.askHead(started.url), started.key);
  });

  it("are not held against the sender while the relay is the one that cannot", async () => {
    const answers: Answer[] = [];
    const device = new FixtureDevice({ crypto: relayCrypto });
    const body = await device.enrolment(started.url, ORIGIN, started.token(nowMs));
    body.request = { ...body.request, pinnedSize: 1_000_000 };
    for (let n = 0; n < 2 * ATTEMPTS_BURST; n++)
      answers.push(await post(`${started.url}/v1/devices`, encodeEnrolment(body)));
    assert.deepEqual([...new Set(answers.map(({ problem }) => problem?.code))], ["RELAY_BEHIND"]);
  });
});
