import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { toHex } from "tallystick/bytes/bytes";
import { makeRevocation, type Revocation, readRevocation } from "tallystick/chain/revocation";
import { ok } from "tallystick/codes/codes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import type { Identity } from "tallystick/identity/identity";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../hosts/relay/keys.js";
import { type Answer, FixtureDevice, post, readingPayload } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { changeAndRestart } from "./key-change.js";
import { failureOf, must, StartedRelay } from "./started.js";

/** Keys that an operator holds back or that are revoked: what is taken of them, and what is not. */
describe("relay: a key's standing", () => {
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());
  beforeEach(async () => {
    device = await started.device({ genesis: { relayKey: started.key } });
    device.appendReadings(4);
    device.read(await device.send(started.url, 1), started.key);
  });

  function code(answer: Answer, status: number): string | undefined {
    assert.equal(answer.status, status, JSON.stringify(answer.problem));
    return answer.problem?.code;
  }

  /** A record at seq 2 that the relay does not hold. */
  function branch(value: number): Uint8Array {
    const id = recordId(relayCrypto.sha256, device.chain[1]!);
    return device.make(Kind.readings, readingPayload(value), { ...device.head, seq: 1, id });
  }

  async function view(): Promise<Record<string, unknown>> {
    return (await (await fetch(`${started.url}/v1/devices/${device.kid}`)).json()) as Record<string, unknown>;
  }

  /** That the relay takes what the device appends now, or answers with `refusal`. */
  async function sends(refusal?: string): Promise<Answer> {
    const head = device.chain.length;
    device.appendReading(50);
    const answer = await device.send(started.url, head);
    if (refusal === undefined) assert.equal(device.read(answer, started.key).received?.seq, head);
    else assert.equal(answer.problem?.code, refusal);
    return answer;
  }

  describe("held back", () => {
    it("by a fork: nothing more is taken until an operator lets it go on, and then all of it", async () => {
      assert.equal(code(await device.sendBytes(started.url, branch(90)), 409), "CHAIN_FORK");
      const refused = await sends("DEVICE_FORKED");
      assert.equal(refused.headers.get("retry-after"), "300");
      assert.equal(code(await device.send(started.url, 0), 409), "DEVICE_FORKED", "also what is held already");
      assert.equal(device.read(await device.askHead(started.url), started.key).received?.seq, 4, "levels are told");
      assert.equal(typeof (await view())["held_since_ms"], "number");
      const decided = started.operate((operator) => operator.decide(device.identity.kid, "continue"));
      assert.equal(decided.heldSinceMs, undefined);
      assert.equal(decided.state, "forked", "it is shown as such for ever");
      assert.deepEqual(
        decided.decisions.map(({ what }) => what),
        ["continue"],
      );
      assert.equal(device.read(await device.send(started.url, 5), started.key).received?.seq, 5);
      await sends();
      assert.equal((await view())["held_since_ms"], undefined);
    });

    it("not again by a fork that was decided about, but by a further one", async () => {
      const known = branch(90);
      await device.sendBytes(started.url, known);
      started.operate((operator) => operator.decide(device.identity.kid, "continue"));
      assert.equal(code(await device.sendBytes(started.url, known), 409), "CHAIN_FORK");
      await sends();
      assert.equal(code(await device.sendBytes(started.url, branch(91)), 409), "CHAIN_FORK");
      await sends("DEVICE_FORKED");
      assert.equal((await view())["state"], "forked");
    });

    it("over a restart of the relay", async () => {
      await device.sendBytes(started.url, branch(90));
      await started.restart();
      await sends("DEVICE_FORKED");
    });

    it("by an operator who doubts a key, without a fork", async () => {
      const held = started.operate((operator) => operator.decide(device.identity.kid, "hold"));
      assert.equal(typeof held.heldSinceMs, "number");
      await sends("DEVICE_FORKED");
      started.operate((operator) => operator.decide(device.identity.kid, "continue"));
      device.read(await device.send(started.url, 5), started.key);
      await sends();
      assert.equal((await view())["state"], "active");
    });

    it("is no matter of other devices", async () => {
      await device.sendBytes(started.url, branch(90));
      device = await started.device();
      await sends();
    });
  });

  describe("revoked", () => {
    const reason = "lost in the field";

    function operatorKey(): Identity {
      return must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
    }

    function statement(change: Partial<Revocation> = {}, signer = operatorKey(), kid = signer.kid): Uint8Array {
      const revocation = { kid: device.identity.kid, fromSeq: 3, timeS: 1_800_000_000, reason, ...change };
      return makeRevocation(kid, revocation, (bytes) => must(signer.sign(bytes)));
    }

    function submit(bytes: Uint8Array): Promise<Answer> {
      return post(`${started.url}/v1/devices/${device.kid}/revocation`, bytes);
    }

    async function inForce(): Promise<number | undefined> {
      const answer = await fetch(`${started.url}/v1/devices/${device.kid}/revocation`);
      if (answer.status === 404) return undefined;
      assert.equal(answer.headers.get("content-type"), "application/vnd.tallystick.revocation+cbor");
      return must(readRevocation(new Uint8Array(await answer.arrayBuffer()))).revocation.fromSeq;
    }

    it("from a position on by its operator: what stands there stays, and nothing follows", async () => {
      const revoked = started.operate((operator) => operator.revoke(device.identity.kid, { fromSeq: 3, reason }));
      assert.equal(revoked.revokedFrom, 3);
      await sends("KEY_REVOKED");
      assert.equal(device.read(await device.askHead(started.url), started.key).received?.seq, 4);
      assert.equal(await inForce(), 3);
      assert.deepEqual((await view())["revoked"], {
        from_seq: 3,
        at_ms: ((await view())["revoked"] as { at_ms: number }).at_ms,
      });
      assert.equal(
        code(await device.sendBytes(started.url, branch(90)), 409),
        "CHAIN_FORK",
        "a fork is evidence still",
      );
    });

    it("from a position that is not reached yet: what is before it is taken", async () => {
      started.operate((operator) => operator.revoke(device.identity.kid, { fromSeq: 6 }));
      await sends();
      await sends("KEY_REVOKED");
    });

    it("which ends that it was held back; what is below counts", async () => {
      await device.sendBytes(started.url, branch(90));
      const revoked = started.operate((operator) => operator.revoke(device.identity.kid, { fromSeq: 5 }));
      assert.equal(revoked.heldSinceMs, undefined);
      await sends("KEY_REVOKED");
    });

    it("by a statement over the network, from the lowest position that any names", async () => {
      assert.equal(await inForce(), undefined);
      for (const [fromSeq, then] of [
        [4, 4],
        [7, 4],
        [2, 2],
        [2, 2],
      ] as const) {
        const answer = await submit(statement({ fromSeq }));
        assert.equal(answer.status, 200, JSON.stringify(answer.problem));
        assert.equal(must(readRevocation(answer.bytes)).revocation.fromSeq, then);
        assert.equal(await inForce(), then);
      }
    });

    it("by nobody else: not by itself, not by a stranger, not in another's name or about another key", async () => {
      const stranger = new FixtureDevice({ crypto: relayCrypto });
      const other = await started.device();
      for (const [bytes, expected] of [
        [statement({}, device.identity), "REVOCATION_FALSE"],
        [statement({}, stranger.identity), "REVOCATION_FALSE"],
        [statement({}, stranger.identity, operatorKey().kid), "REVOCATION_FALSE"],
        [statement({ kid: other.identity.kid }), "KEY_MISMATCH"],
      ] as const)
        assert.equal(code(await submit(bytes), 422), expected);
      assert.equal(code(await submit(device.chain[0]!), 400), "STATEMENT_MALFORMED");
      assert.equal(code(await submit(new Uint8Array(600)), 400), "STATEMENT_MALFORMED");
      assert.equal(code(await submit(new Uint8Array(0)), 400), "CBOR_INVALID");
      assert.equal(await inForce(), undefined);
      await sends();
    });

    it("by no statement of which a byte was changed, cut off or put on", async () => {
      const good = statement();
      await fc.assert(
        fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
          const changed = good.slice();
          changed[at]! ^= flip;
          for (const bytes of [changed, good.subarray(0, at), new Uint8Array([...good, flip])]) {
            const answer = await submit(bytes);
            assert.ok(answer.status === 400 || answer.status === 422, `${answer.status} ${toHex(bytes)}`);
          }
        }),
        { numRuns: 60 },
      );
      assert.equal(await inForce(), undefined);
    });

    it("by its owner alone, where genesis names one", async () => {
      const owner = new FixtureDevice({ crypto: relayCrypto }).identity;
      const maker = new FixtureMaker(relayCrypto);
      const seed = new Uint8Array(randomBytes(32));
      const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
      const vouched = maker.vouch(publicKey, { ownerKey: owner.publicKey });
      device = await started.device({ seed, genesis: { relayKey: started.key, statement: vouched } });
      await sends();
      for (const stranger of [operatorKey(), maker.identity, device.identity])
        assert.equal(code(await submit(statement({ fromSeq: 0 }, stranger)), 422), "REVOCATION_FALSE");
      const refused = started.operate((operator) =>
        ok(failureOf(operator.revoke(device.identity.kid, { fromSeq: 0 }))),
      );
      assert.equal(refused.code, "REVOCATION_FALSE");
      assert.equal(await inForce(), undefined);
      started.operate((operator) => operator.revokeBy(device.identity.kid, statement({ fromSeq: 2 }, owner)));
      assert.equal(await inForce(), 2);
      await sends("KEY_REVOKED");
    });

    it("by the key that the relay has today, and not by one that it had: evidence shows how that came", async () => {
      const former = operatorKey();
      await started.settled();
      await changeAndRestart(started);
      assert.equal(code(await submit(statement({}, former)), 422), "REVOCATION_FALSE");
      started.operate((operator) => operator.revoke(device.identity.kid, { fromSeq: 3 }));
      await started.settled();
      const log = started.relay.identity.logKey;
      const policy = must(readPolicy(relayCrypto.sha256, JSON.stringify({ log })));
      for (const [seq, verdict] of [
        [2, "proved"],
        [3, "false"],
      ] as const) {
        const id = toHex(recordId(relayCrypto.sha256, device.chain[seq]!));
        const file = await fetch(`${started.url}/v1/records/${id}/evidence`);
        const report = must(verifyEvidence(relayCrypto, new Uint8Array(await file.arrayBuffer()), policy));
        assert.equal(report.verdict, verdict, JSON.stringify(report.steps));
      }
    });

    it("is told of a key that is not enrolled", async () => {
      const unknown = new FixtureDevice({ crypto: relayCrypto });
      const url = `${started.url}/v1/devices/${unknown.kid}/revocation`;
      assert.equal(code(await post(url, statement()), 404), "DEVICE_UNKNOWN");
      const failure = started.operate((operator) =>
        ok(failureOf(operator.revoke(unknown.identity.kid, { fromSeq: 0 }))),
      );
      assert.equal(failure.code, "DEVICE_UNKNOWN");
    });
  });
});
