import assert from "node:assert/strict";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { Kind, recordId } from "tallystick/record/record";
import { encodeEnrolment, encodeRequest, readAcknowledgement } from "tallystick/sync/messages";
import { encodeSuccessionRequest, stateSuccession } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { answerOf, FixtureDevice, readingPayload } from "../fixtures/device.js";
import { must, ORIGIN } from "../relay/started.js";
import { needMosquitto } from "./mosquitto.js";
import { StartedBoth } from "./started.js";
import { MqttTransport } from "./transport.js";

/** Of a clock that stands still: so the time in acknowledgements is the same, and every byte has to be. */
const NOW_MS = 1_800_000_000_000;

interface Asked {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: Uint8Array;
}

describe("MQTT: the same bytes and answers as HTTP", () => {
  let both: StartedBoth;
  let device: FixtureDevice;
  let transport: MqttTransport;

  before(async function () {
    needMosquitto(this);
    both = await StartedBoth.start({ nowMs: () => NOW_MS, attempts: { burst: 1000 } });
    device = new FixtureDevice({ crypto: relayCrypto });
    transport = new MqttTransport({ port: both.broker.port, kid: device.kid });
  });
  after(async () => {
    await transport?.close();
    await both?.close();
  });

  const asIs = async ({ method, path, body }: Asked) => {
    const init = body && { body: Buffer.from(body), headers: { "content-type": "application/cbor" } };
    const answer = await answerOf(await fetch(`${both.started.url}${path}`, { method, ...init }));
    const seconds = answer.headers.get("retry-after");
    return { status: answer.status, body: toHex(answer.bytes), retryAfterS: seconds === null ? null : Number(seconds) };
  };
  const byBroker = async (asked: Asked) => {
    const answer = await transport.ask(asked);
    assert.ok(answer, `${asked.method} ${asked.path} is answered`);
    return { status: answer.status, body: toHex(answer.body), retryAfterS: answer.retryAfterS ?? null };
  };
  /** First by MQTT, so that it is MQTT's that changes what there is to change. */
  async function same(asked: Asked, status: number, code?: string): Promise<void> {
    const first = await byBroker(asked);
    await both.started.settled();
    const [mqtt, http] = [await byBroker(asked), await asIs(asked)];
    const problem = status === 200 ? undefined : JSON.parse(Buffer.from(http.body, "hex").toString());
    assert.equal(http.status, status, `${asked.path}: ${JSON.stringify(problem)}`);
    assert.equal(problem?.code, code);
    assert.equal(first.status, status);
    assert.deepEqual(mqtt, http, asked.path);
  }

  it("holds for every call that is answered, and what is written by one is held by the other", async () => {
    const { started } = both;
    const challenge = await byBroker({ method: "GET", path: "/v1/challenge" });
    assert.equal(challenge.status, 200);
    assert.equal(challenge.body.length, (await asIs({ method: "GET", path: "/v1/challenge" })).body.length);

    const parts = await device.enrolment(started.url, ORIGIN, started.token(NOW_MS));
    await same({ method: "POST", path: "/v1/devices", body: encodeEnrolment(parts) }, 200);
    const path = `/v1/devices/${device.kid}`;
    await same({ method: "POST", path: `${path}/head`, body: encodeRequest(device.request()) }, 200);
    device.appendReadings(40);
    const batch = new Uint8Array(Buffer.concat([encodeRequest(device.request()), ...device.chain.slice(1)]));
    await same({ method: "POST", path: `${path}/records`, body: batch }, 200);
    await same({ method: "GET", path: `${path}/records?from=3&to=9` }, 200);
    await same({ method: "GET", path: `${path}/records?from=0&to=${Number.MAX_SAFE_INTEGER}` }, 200);
    await same({ method: "GET", path: "/v1/relay/keys?generation=0" }, 200);
    // What was erased above the head that is named, once the bytes are gone.
    const erasure = { kid: device.identity.kid, from: 10, to: 12, reason: "asked", by: "operator" };
    assert.ok(must(await eraseInFolder(started.folder, erasure, { decided: true })).done);
    const behind = { ...device.request(), head: { seq: 2, id: recordId(relayCrypto.sha256, device.chain[2]!) } };
    const asked = { method: "POST", path: `${path}/head`, body: encodeRequest(behind) } as const;
    await same(asked, 200);
    const word = must(readAcknowledgement(fromHex((await byBroker(asked)).body)!)).acknowledgement;
    assert.equal(word.erasedSeq, 10);
    await same({ method: "GET", path: `${path}/records?from=10&to=20` }, 410, "RECORD_ERASED");

    const next = Identity.ofSeed(new Uint8Array(32).fill(9), relayCrypto);
    const { seq, id } = device.head;
    const statement = must(stateSuccession({ former: device.identity, next, seq, id }, ORIGIN));
    const successor = new FixtureDevice({
      crypto: relayCrypto,
      seed: new Uint8Array(32).fill(9),
      genesis: { predecessor: { kid: device.identity.kid, seq, id } },
    });
    const { nonce, pinnedSize } = device.request();
    const request = encodeSuccessionRequest({
      request: { nonce, pinnedSize },
      genesis: successor.chain[0]!,
      statement,
    });
    await same({ method: "POST", path: `${path}/succession`, body: request }, 200);
    assert.equal(started.relay.store.countRecords(), 1 + 40 + 1);
  });

  it("holds for what is refused, problem documents and Retry-After included", async () => {
    const { started } = both;
    const other = await started.device({}, NOW_MS);
    const path = `/v1/devices/${other.kid}`;
    const request = encodeRequest(other.request());
    const unknown = "/v1/devices/0011223344556677";
    const sized = (length: number) => new Uint8Array(length).fill(0x80);
    await same({ method: "POST", path: `${unknown}/head`, body: request }, 404, "DEVICE_UNKNOWN");
    await same({ method: "POST", path: `${unknown}/records`, body: request }, 404, "DEVICE_UNKNOWN");
    await same({ method: "GET", path: `${unknown}/records?from=0&to=1` }, 404, "DEVICE_UNKNOWN");
    await same({ method: "POST", path: `${path}/head` }, 400, "MESSAGE_MALFORMED");
    await same({ method: "POST", path: `${path}/head`, body: sized(3) }, 400, "CBOR_INVALID");
    await same({ method: "POST", path: `${path}/records`, body: sized(65_536) }, 400, "MESSAGE_MALFORMED");
    await same({ method: "POST", path: `${path}/records`, body: sized(65_537) }, 413, "BODY_TOO_LARGE");
    await same({ method: "POST", path: "/v1/devices", body: sized(5) }, 400, "CBOR_INVALID");
    await same({ method: "POST", path: `${path}/succession`, body: sized(1) }, 400, "MESSAGE_MALFORMED");
    const ahead = encodeRequest({ ...other.request(), pinnedSize: 10_000 });
    await same({ method: "POST", path: `${path}/head`, body: ahead }, 409, "RELAY_BEHIND");
    other.appendReadings(3);
    const gap = new Uint8Array(Buffer.concat([request, other.chain[3]!]));
    await same({ method: "POST", path: `${path}/records`, body: gap }, 409, "CHAIN_GAP");
    const false_ = other.chain[1]!.slice();
    false_[false_.length - 1]! ^= 1;
    const forged = new Uint8Array(Buffer.concat([request, false_]));
    await same({ method: "POST", path: `${path}/records`, body: forged }, 422, "SIGNATURE_INVALID");
    // A fork holds the key back, which is told with Retry-After.
    const twin = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(77) });
    twin.read(await twin.enrol(started.url, ORIGIN, started.token(NOW_MS)), started.key);
    const head = twin.head;
    const branches = [1, 2].map((value) => twin.make(Kind.readings, readingPayload(value), head));
    const send = (record: Uint8Array) => new Uint8Array(Buffer.concat([encodeRequest(twin.request()), record]));
    const records = `/v1/devices/${twin.kid}/records`;
    assert.equal((await byBroker({ method: "POST", path: records, body: send(branches[0]!) })).status, 200);
    const fork = await byBroker({ method: "POST", path: records, body: send(branches[1]!) });
    assert.equal(JSON.parse(Buffer.from(fork.body, "hex").toString()).code, "CHAIN_FORK");
    await same({ method: "POST", path: records, body: send(branches[0]!) }, 409, "DEVICE_FORKED");
    assert.notEqual((await byBroker({ method: "POST", path: records, body: send(branches[0]!) })).retryAfterS, null);
  });
});
