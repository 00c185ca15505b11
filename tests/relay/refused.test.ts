import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { ClockState } from "tallystick/clock/clock";
import type { Code } from "tallystick/codes/codes";
import { kidOf } from "tallystick/identity/key";
import { type Cbor, encodeCbor } from "tallystick/record/cbor";
import { coseKey, encodeGenesis, type Genesis } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { makeStatement } from "tallystick/record/statement";
import { encodeEnrolment, POSSESSION_TYP } from "tallystick/sync/messages";
import { CHALLENGE_LIFETIME_S } from "../../hosts/relay/challenge.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { type Answer, answerOf, type EnrolmentParts, FIRMWARE, FixtureDevice, post } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { changesOf, dumpOf } from "./dump.js";
import { MANY_ATTEMPTS, must, ORIGIN, StartedRelay } from "./started.js";

const ZERO = new Uint8Array(32);
const { sha256 } = relayCrypto;

/** Each of these is refused by its own code, and the database is afterwards what it was, row by row. */
describe("relay: whoever is refused leaves nothing", function () {
  this.timeout(60_000);
  const maker = new FixtureMaker(relayCrypto);
  const stranger = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x66));
  let started: StartedRelay;
  let aheadMs = 0;
  /** A token that lets one device in, which is spent, and one that has expired. */
  let spent: string;

  before(async () => {
    started = await StartedRelay.start({
      attempts: MANY_ATTEMPTS,
      makers: [maker.publicKey],
      nowMs: () => Date.now() + aheadMs,
    });
    spent = started.token();
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.read(await device.enrol(started.url, ORIGIN, spent), started.key);
    await started.settled();
  });
  after(() => started.close());
  afterEach(() => {
    aheadMs = 0;
  });

  /** Sends what `send` does, and sees the code, and that nothing was written. */
  async function refused(code: Code, send: () => Promise<Answer>): Promise<void> {
    const before = dumpOf(started);
    const answer = await send();
    assert.equal(answer.problem?.code, code, JSON.stringify(answer.problem ?? answer.status));
    assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status));
    assert.equal(dumpOf(started), before, "something was stored");
  }

  /** An enrolment that is good but for what `change` does to it. */
  async function altered(
    code: Code,
    change: (parts: EnrolmentParts, device: FixtureDevice) => void,
    { token = started.token(), genesis }: { token?: string | undefined; genesis?: FixtureGenesis } = {},
  ): Promise<void> {
    const device = new FixtureDevice({ crypto: relayCrypto, ...(genesis && { genesis }) });
    const parts = await device.enrolment(started.url, ORIGIN, token === NONE ? undefined : token);
    change(parts, device);
    await refused(code, () => post(`${started.url}/v1/devices`, encodeEnrolment(parts)));
  }
  type FixtureGenesis = (publicKey: Uint8Array) => Partial<Genesis>;
  const NONE = "";
  const nothing = () => undefined;

  /** An enrolment's map, changed where the encoder would not. */
  async function malformed(code: Code, change: (map: Map<number, Cbor>) => void): Promise<void> {
    const device = new FixtureDevice({ crypto: relayCrypto });
    const { request, genesis, possession, token } = await device.enrolment(started.url, ORIGIN, started.token());
    const map = new Map<number, Cbor>([
      [1, request.nonce],
      [2, request.pinnedSize],
      [4, genesis],
      [5, token!],
      [6, possession],
    ]);
    change(map);
    await refused(code, () => post(`${started.url}/v1/devices`, encodeCbor(map)));
  }

  it("with a body that is no enrolment", async () => {
    const url = `${started.url}/v1/devices`;
    await refused("CBOR_INVALID", () => post(url, new Uint8Array(0)));
    await refused("CBOR_INVALID", () => post(url, Uint8Array.of(0x1c)));
    await refused("CBOR_INVALID", () => post(url, Uint8Array.of(0xa0, 0x00)));
    await refused("MESSAGE_MALFORMED", () => post(url, Uint8Array.of(0xa0)));
    await refused("MESSAGE_MALFORMED", () => post(url, Uint8Array.of(0x80)));
    await malformed("MESSAGE_MALFORMED", (map) => map.delete(1));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(1, new Uint8Array(15)));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(2, -1));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(3, [0, ZERO]));
    await malformed("MESSAGE_MALFORMED", (map) => map.delete(4));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(4, "genesis"));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(5, new Uint8Array(0)));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(5, new Uint8Array(65)));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(5, "a text of a token"));
    await malformed("MESSAGE_MALFORMED", (map) => map.delete(6));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(6, 6));
    await malformed("MESSAGE_MALFORMED", (map) => map.set(7, 7));
  });

  it("with a body that is too long, of another type, encoded, or none", async () => {
    const url = `${started.url}/v1/devices`;
    await refused("BODY_TOO_LARGE", () => post(url, new Uint8Array(65_537)));
    await refused("MEDIA_TYPE_UNKNOWN", () => post(url, Uint8Array.of(0xa0), "application/json"));
    const headers = { "content-type": "application/cbor", "content-encoding": "gzip" };
    await refused("MEDIA_TYPE_UNKNOWN", async () => answerOf(await fetch(url, { method: "POST", headers, body: "x" })));
    await refused("MESSAGE_MALFORMED", async () => answerOf(await fetch(url, { method: "POST" })));
  });

  it("with a token that is unknown, expired, spent, or none", async () => {
    await altered("TOKEN_INVALID", nothing, { token: "nobody made this one" });
    const { token } = must(makeEnrolmentToken(started.folder, { lifetimeMs: -1, ...started.where }));
    await altered("TOKEN_INVALID", nothing, { token });
    await altered("TOKEN_INVALID", nothing, { token: spent });
    await altered("TOKEN_INVALID", nothing, { token: NONE });
    // Of no use beside a statement that would be leave enough: the token is what the device comes with.
    const genesis = (key: Uint8Array) => ({ statement: maker.vouch(key) });
    await altered("TOKEN_INVALID", nothing, { token: "nobody made this one", genesis });
    await altered("TOKEN_INVALID", nothing, { token: spent, genesis });
  });

  it("with a possession of another relay, challenge, leave or key, or none", async () => {
    const over = async (parts: { origin?: string; challenge?: Uint8Array; leave?: Uint8Array }) => {
      const token = started.token();
      const challenge = await new FixtureDevice({ crypto: relayCrypto }).challenge(started.url);
      await altered(
        "POSSESSION_UNPROVED",
        (sent, device) => {
          const leaveSha256 = sha256(parts.leave ?? new Uint8Array(Buffer.from(token)));
          sent.possession = device.possession({ origin: ORIGIN, challenge, leaveSha256, ...parts });
        },
        { token },
      );
    };
    await over({ origin: "relay.example/other" });
    await over({ challenge: ZERO });
    await over({ challenge: new Uint8Array(31) });
    await over({ leave: new Uint8Array(Buffer.from(started.token())) });
    await over({ leave: new Uint8Array(0) });
    const other = new FixtureDevice({ crypto: relayCrypto });
    const token = started.token();
    const theirs = await other.enrolment(started.url, ORIGIN, token);
    await altered("POSSESSION_UNPROVED", (sent) => Object.assign(sent, { possession: theirs.possession }), { token });
    await altered("POSSESSION_UNPROVED", (sent) => {
      sent.possession = sent.possession.slice();
      sent.possession[sent.possession.length - 1]! ^= 1;
    });
    // By a key that is not the one that the kid names.
    await altered("POSSESSION_UNPROVED", (sent, device) => {
      sent.possession = makeStatement(
        POSSESSION_TYP,
        device.identity.kid,
        new Map<number, Cbor>([
          [1, ORIGIN],
          [2, ZERO],
          [3, sha256(sent.token!)],
        ]),
        (bytes) => must(other.identity.sign(bytes)),
      );
    });
    const typed = (typ: string, payload: Map<number, Cbor>) => (sent: EnrolmentParts, device: FixtureDevice) => {
      sent.possession = makeStatement(typ, device.identity.kid, payload, (bytes) => must(device.identity.sign(bytes)));
    };
    await altered("STATEMENT_MALFORMED", typed("application/vnd.tallystick.device+cbor", new Map()));
    await altered("MESSAGE_MALFORMED", typed(POSSESSION_TYP, new Map()));
    await altered("CBOR_INVALID", (sent) => Object.assign(sent, { possession: new Uint8Array(0) }));
    await altered("STATEMENT_MALFORMED", (sent) => Object.assign(sent, { possession: sent.genesis }));
  });

  it("with a challenge whose time has passed", () =>
    altered("POSSESSION_UNPROVED", () => {
      aheadMs = (CHALLENGE_LIFETIME_S + 1) * 1000;
    }));

  /** Whatever may be announced, under a good possession of the device's key. */
  function announced(device: FixtureDevice, payload: Uint8Array, kid = device.identity.kid): Uint8Array {
    return device.sign(nextBody(kid, undefined, { kind: Kind.genesis, payload, uptimeMs: 0, clock: ClockState.unset }));
  }
  const content = (publicKey: Uint8Array): Genesis => ({
    publicKey,
    model: "fixture",
    firmware: FIRMWARE,
    quantities: [],
    markIntervalS: 60,
  });

  it("with a genesis that is none, or does not hold", async () => {
    await altered("RECORD_MALFORMED", (sent) => Object.assign(sent, { genesis: new Uint8Array(0) }));
    await altered("RECORD_MALFORMED", (sent) => Object.assign(sent, { genesis: new Uint8Array(100).fill(0x1c) }));
    await altered("RECORD_MALFORMED", (sent) => Object.assign(sent, { genesis: sent.possession }));
    await altered("RECORD_MALFORMED", (sent, device) => {
      device.appendReading(1);
      sent.genesis = device.chain[1]!;
    });
    await altered("SIGNATURE_INVALID", (sent) => {
      sent.genesis = sent.genesis.slice();
      sent.genesis[sent.genesis.length - 1]! ^= 1;
    });
    await altered("SUCCESSION_FALSE", (sent, device) => {
      const predecessor = { kid: new Uint8Array(8), seq: 3, id: ZERO };
      sent.genesis = announced(device, encodeGenesis({ ...content(device.identity.publicKey), predecessor }));
    });
    await altered("RECORD_MALFORMED", (sent, device) => {
      const firmware = { ...FIRMWARE, sha256: new Uint8Array(31) };
      sent.genesis = announced(device, encodeGenesis({ ...content(device.identity.publicKey), firmware }));
    });
    await altered("RECORD_MALFORMED", (sent, device) => {
      const statement = new Uint8Array(1025);
      sent.genesis = announced(device, encodeGenesis({ ...content(device.identity.publicKey), statement }));
    });
  });

  it("with a key of another kid, of low order, or not canonical", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto }).identity;
    // The kid is the sender's own, the key another's; and the other way round.
    await altered("POSSESSION_UNPROVED", (sent, device) => {
      sent.genesis = announced(device, encodeGenesis(content(other.publicKey)));
    });
    await altered("POSSESSION_UNPROVED", (sent, device) => {
      sent.genesis = announced(device, encodeGenesis(content(device.identity.publicKey)), other.kid);
    });
    await altered("KEY_MISMATCH", (sent, device) => {
      sent.genesis = announced(device, encodeGenesis(content(device.identity.publicKey)), other.kid);
      const read = sent.possession;
      sent.possession = withKid(read, device, other.kid);
    });
    const one = ZERO.slice();
    one[0] = 1;
    const notCanonical = new Uint8Array(32).fill(0xff);
    notCanonical[31] = 0x7f;
    for (const key of [ZERO, one, notCanonical, new Uint8Array(32).fill(0xff)])
      await altered("RECORD_MALFORMED", (sent, device) => {
        sent.genesis = announced(device, encodeGenesis(content(key)), kidOf(sha256, key));
      });
    await altered("RECORD_MALFORMED", (sent, device) => {
      const payload = encodeCbor(new Map<number, Cbor>([[1, coseKey(device.identity.publicKey.subarray(1))]]));
      sent.genesis = announced(device, payload);
    });
  });

  /** The same claim under another kid, still signed by the device's key. */
  function withKid(possession: Uint8Array, device: FixtureDevice, kid: Uint8Array): Uint8Array {
    const own = toHex(device.identity.kid);
    const at = toHex(possession).indexOf(own) / 2;
    const changed = possession.slice();
    changed.set(kid, at);
    const body = changed.subarray(0, changed.length - 66);
    assert.equal(toHex(possession.subarray(at, at + 8)), own);
    const protectedEnd = 3 + changed[3]! + 1;
    const protectedBytes = body.subarray(4, protectedEnd);
    const payload = body.subarray(protectedEnd + 1);
    const header = payload[0] === 0x58 ? 2 : 1;
    const signed = must(
      device.identity.sign(encodeCbor(["Signature1", protectedBytes, new Uint8Array(0), payload.subarray(header)])),
    );
    changed.set(signed, changed.length - 64);
    return changed;
  }

  it("with a statement of a strange maker, for another device, or that is none", async () => {
    const token = NONE;
    const vouched = (code: Code, genesis: FixtureGenesis) => altered(code, nothing, { token, genesis });
    const otherKey = relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(0x77));
    await vouched("MAKER_UNKNOWN", (key) => ({ statement: stranger.vouch(key) }));
    await vouched("MAKER_MISMATCH", () => ({ statement: maker.vouch(otherKey) }));
    await vouched("MAKER_MISMATCH", (key) => ({ statement: maker.vouch(key, { firmwareSha256: ZERO }) }));
    await vouched("MAKER_MALFORMED", (key) => ({ statement: maker.vouch(key, { chip: new Uint8Array(3) }) }));
    await vouched("MAKER_MALFORMED", (key) => ({ statement: maker.vouch(key, { publicKey: ZERO }) }));
    await vouched("MAKER_MALFORMED", () => ({ statement: new Uint8Array(0) }));
    await vouched("MAKER_MALFORMED", () => ({ statement: Uint8Array.of(1, 2, 3) }));
    await vouched("MAKER_MALFORMED", (key) => ({ statement: Buffer.concat([maker.vouch(key), Buffer.of(0)]) }));
    await vouched("MAKER_FALSE", (key) => ({ statement: flipped(maker.vouch(key)) }));
    await altered(
      "POSSESSION_UNPROVED",
      (sent, device) => {
        const statement = maker.vouch(device.identity.publicKey, { text: "another" });
        sent.genesis = announced(device, encodeGenesis({ ...content(device.identity.publicKey), statement }));
      },
      { token, genesis: (key) => ({ statement: maker.vouch(key) }) },
    );
  });

  it("with a false statement in a trusted maker's name, whatever token comes with it", async () => {
    await altered("MAKER_FALSE", nothing, { genesis: (key) => ({ statement: flipped(maker.vouch(key)) }) });
    await altered("MAKER_MISMATCH", nothing, {
      genesis: (key) => ({ statement: maker.vouch(key, { firmwareSha256: ZERO }) }),
    });
  });

  it("with a log pinned that is larger than this one", () =>
    altered("RELAY_BEHIND", (sent) => {
      sent.request = { ...sent.request, pinnedSize: 1_000_000 };
    }));

  for (const [name, vouch] of [
    ["a token", false],
    ["a maker's statement", true],
  ] as const)
    it(`with any byte of a good enrolment by ${name} flipped, cut off or added (seeded)`, async () => {
      const genesis = vouch ? { genesis: (key: Uint8Array) => ({ statement: maker.vouch(key) }) } : {};
      const device = new FixtureDevice({ crypto: relayCrypto, ...genesis });
      const sent = await device.enrolment(started.url, ORIGIN, vouch ? undefined : started.token());
      const body = encodeEnrolment(sent);
      // The nonce and the pinned size are the request's, not the enrolment's: the answer is about them.
      const nonce = 3;
      const signedFrom = nonce + sent.request.nonce.length;
      const pinned = signedFrom + 1;
      const place = fc.nat(body.length - 1).filter((at) => (at < nonce || at >= signedFrom) && at !== pinned);
      const flip = fc.tuple(place, fc.integer({ min: 1, max: 255 })).map(([at, mask]) => {
        const changed = body.slice();
        changed[at]! ^= mask;
        return changed;
      });
      const cut = fc.nat(body.length - 1).map((length) => body.slice(0, length));
      const extend = fc
        .tuple(fc.nat(body.length), fc.uint8Array({ minLength: 1, maxLength: 9 }))
        .map(([at, more]) => new Uint8Array([...body.subarray(0, at), ...more, ...body.subarray(at)]));
      const before = dumpOf(started);
      const changes = changesOf(started);
      await fc.assert(
        fc.asyncProperty(fc.oneof(flip, cut, extend), async (changed) => {
          const answer = await post(`${started.url}/v1/devices`, changed);
          assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.problem?.code}`);
          assert.ok(answer.problem, "a problem document with a code");
          assert.equal(changesOf(started), changes, `${answer.problem.code} has stored something`);
        }),
        { numRuns: 300 },
      );
      assert.equal(dumpOf(started), before);
      device.read(await post(`${started.url}/v1/devices`, body), started.key);
      await started.settled();
    });
});

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed[changed.length - 1]! ^= 1;
  return changed;
}
