import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { toHex } from "tallystick/bytes/bytes";
import { encodeEnrolment, makePossession } from "tallystick/sync/messages";
import { CHALLENGE_LIFETIME_S, Challenges } from "../../hosts/relay/challenge.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { type Answer, FixtureDevice, post } from "../fixtures/device.js";
import { MANY_ATTEMPTS, must, ORIGIN, StartedRelay } from "./started.js";

describe("relay: enrolment", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
  });
  after(() => started.close());
  beforeEach(() => {
    device = new FixtureDevice({ crypto: relayCrypto });
  });

  function refused(answer: Answer, status: number, code: string): void {
    assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem));
    assert.equal(answer.status, status);
  }

  function isEnrolled(): boolean {
    return started.relay.store.deviceByKid(device.identity.kid) !== undefined;
  }

  it("lets a device in with a token that was made beside the running relay", async () => {
    const acknowledgement = device.read(await device.enrol(started.url, ORIGIN, started.token()), started.key);
    assert.equal(acknowledgement.received?.seq, 0);
    assert.equal(toHex(acknowledgement.received.id), toHex(device.head.id));
    assert.ok(isEnrolled());
  });

  it("answers the same enrolment again as the first, and spends the token once", async () => {
    const token = started.token();
    device.read(await device.enrol(started.url, ORIGIN, token), started.key);
    device.read(await device.enrol(started.url, ORIGIN, token), started.key);
    device.read(await device.enrol(started.url, ORIGIN, started.token()), started.key);
    const other = new FixtureDevice({ crypto: relayCrypto });
    refused(await other.enrol(started.url, ORIGIN, token), 403, "TOKEN_INVALID");
    assert.equal(started.relay.store.deviceByKid(other.identity.kid), undefined);
  });

  it("refuses a token that nobody made, and one whose time has passed", async () => {
    refused(await device.enrol(started.url, ORIGIN, "no such token"), 403, "TOKEN_INVALID");
    const { token } = must(makeEnrolmentToken(started.folder, { lifetimeMs: -1, ...started.where }));
    refused(await device.enrol(started.url, ORIGIN, token), 403, "TOKEN_INVALID");
    assert.equal(isEnrolled(), false);
  });

  it("stores no token that could be used from a copy of the database", () => {
    const token = started.token();
    const rows = started.relay.store.database.prepare("SELECT * FROM tokens").all();
    assert.equal(Buffer.from(JSON.stringify(rows)).includes(token), false);
    const hash = relayCrypto.sha256(new Uint8Array(Buffer.from(token)));
    const found = rows.filter((row) => toHex((row as { sha256: Uint8Array }).sha256) === toHex(hash));
    assert.equal(found.length, 1);
  });

  it("refuses a proof of possession for another relay, and leaves the token unspent", async () => {
    const token = started.token();
    refused(await device.enrol(started.url, "relay.example/other", token), 403, "POSSESSION_UNPROVED");
    assert.equal(isEnrolled(), false);
    device.read(await device.enrol(started.url, ORIGIN, token), started.key);
  });

  it("refuses a proof of possession by another key", async () => {
    const thief = new FixtureDevice({ crypto: relayCrypto });
    const answer = await device.enrol(started.url, ORIGIN, started.token(), (parts) => {
      parts.genesis = thief.chain[0]!;
    });
    refused(answer, 403, "POSSESSION_UNPROVED");
    assert.equal(started.relay.store.deviceByKid(thief.identity.kid), undefined);
  });

  it("refuses a proof of possession over a challenge of its own making", async () => {
    const token = new Uint8Array(Buffer.from(started.token()));
    const leaveSha256 = relayCrypto.sha256(token);
    for (const challenge of [new Uint8Array(randomBytes(32)), new Uint8Array(8)]) {
      const possession = makePossession(device.identity.kid, { origin: ORIGIN, challenge, leaveSha256 }, (bytes) =>
        must(device.identity.sign(bytes)),
      );
      const enrolment = { request: device.request(), genesis: device.chain[0]!, token, possession };
      refused(await post(`${started.url}/v1/devices`, encodeEnrolment(enrolment)), 403, "POSSESSION_UNPROVED");
    }
  });

  it("refuses a possession whose signature was changed", async () => {
    const answer = await device.enrol(started.url, ORIGIN, started.token(), (parts) => {
      parts.possession = parts.possession.slice();
      parts.possession[parts.possession.length - 1]! ^= 1;
    });
    refused(answer, 403, "POSSESSION_UNPROVED");
  });

  it("refuses a genesis whose signature was changed", async () => {
    const answer = await device.enrol(started.url, ORIGIN, started.token(), (parts) => {
      parts.genesis = parts.genesis.slice();
      parts.genesis[parts.genesis.length - 1]! ^= 1;
    });
    refused(answer, 422, "SIGNATURE_INVALID");
    assert.equal(isEnrolled(), false);
  });

  it("refuses a record that is no genesis", async () => {
    device.appendReading(1);
    const answer = await device.enrol(started.url, ORIGIN, started.token(), (parts) => {
      parts.genesis = device.chain[1]!;
    });
    refused(answer, 400, "RECORD_MALFORMED");
  });

  it("keeps a second genesis of an enrolled key aside as a fork", async () => {
    const seed = new Uint8Array(randomBytes(32));
    const first = await started.device({ seed });
    const clone = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { model: "clone" } });
    const answer = await clone.enrol(started.url, ORIGIN, started.token());
    refused(answer, 409, "CHAIN_FORK");
    assert.equal(answer.problem?.held, toHex(first.head.id));
    assert.equal(answer.problem?.received, toHex(clone.head.id));
    first.appendReading(1);
    refused(await first.send(started.url), 409, "DEVICE_FORKED");
    started.operate((operator) => operator.decide(first.identity.kid, "continue"));
    assert.equal(first.read(await first.send(started.url), started.key).received?.seq, 1);
  });

  it("does not take a body that is no enrolment", async () => {
    refused(await post(`${started.url}/v1/devices`, Uint8Array.of(0xa0)), 400, "MESSAGE_MALFORMED");
    refused(await post(`${started.url}/v1/devices`, Uint8Array.of(0x00)), 400, "MESSAGE_MALFORMED");
    refused(await post(`${started.url}/v1/devices`, Uint8Array.of(0x1c)), 400, "CBOR_INVALID");
  });

  it("knows its own challenges until their time has passed, and no others", () => {
    let nowMs = 1_800_000_000_000;
    const challenges = new Challenges(() => nowMs);
    const challenge = challenges.issue();
    assert.ok(challenges.isCurrent(challenge));
    assert.equal(new Challenges(() => nowMs).isCurrent(challenge), false, "another process's");
    for (let bit = 0; bit < challenge.length * 8; bit++) {
      const flipped = challenge.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(challenges.isCurrent(flipped), false, `bit ${bit}`);
    }
    nowMs += CHALLENGE_LIFETIME_S * 1000;
    assert.ok(challenges.isCurrent(challenge));
    nowMs += 1;
    assert.equal(challenges.isCurrent(challenge), false);
  });
});
