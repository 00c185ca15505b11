import assert from "node:assert/strict";
import { makeRevocation, type Revocation } from "tallystick/chain/revocation";
import type { Identity } from "tallystick/identity/identity";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { pathsOf } from "../../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../../hosts/relay/keys.js";
import { FixtureDevice, post } from "../../fixtures/device.js";
import { FixtureMaker } from "../../fixtures/maker.js";
import { itOfSqlite } from "../postgres/of-sqlite.js";
import { must, ORIGIN, StartedRelay } from "../started.js";
import { ask, enrolmentToken, idOf, makeTenant, operatorToken } from "./operators.js";

/** What ends keys and tokens, and that it is noted who did it. */
describe("relay: revocations by operators and owners", () => {
  let started: StartedRelay;

  beforeEach(async () => {
    started = await StartedRelay.start();
    makeTenant(started, "north");
    makeTenant(started, "south");
  });
  afterEach(() => started.close());

  async function changes(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const answer = await ask(started.url, "GET", "/v1/operator/audit?limit=1000", operatorToken(started, "admin"));
    return answer.body.changes.map(({ who, tenant, what, about, detail }: Record<string, unknown>) => ({
      ...{ who, tenant, what, about, detail },
    }));
  }

  describe("of devices, by a statement that anyone may bring", () => {
    const owner = new FixtureDevice({ crypto: relayCrypto }).identity;
    let device: FixtureDevice;

    beforeEach(async () => {
      const maker = new FixtureMaker(relayCrypto);
      await started.restart({ makers: [maker.identity.publicKey] });
      const seed = new Uint8Array(32).fill(0x51);
      const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
      const statement = maker.vouch(publicKey, { ownerKey: owner.publicKey });
      device = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { statement } });
      device.read(await device.enrol(started.url, ORIGIN, enrolmentToken(started, "north")), started.key);
      device.appendReadings(5);
      device.read(await device.send(started.url), started.key);
    });

    const bring = (by: Identity, revocation: Omit<Revocation, "kid">, of = device) => {
      const statement = makeRevocation(by.kid, { kid: of.identity.kid, ...revocation }, (bytes) =>
        must(by.sign(bytes)),
      );
      return post(`${started.url}/v1/devices/${of.kid}/revocation`, statement);
    };
    const notes = async (of = device) => (await changes()).filter(({ about }) => about === of.kid);
    const note = (about: string, from_seq: number, signed_by: string, tenant: string) => ({
      ...{ who: "statement", tenant, what: "device revoke", about, detail: { from_seq, signed_by } },
    });

    it("are noted with the position and who signed, once for each that changes something", async () => {
      const stranger = new FixtureDevice({ crypto: relayCrypto }).identity;
      assert.equal((await bring(stranger, { fromSeq: 4, timeS: 1 })).status, 422);
      assert.deepEqual(await notes(), []);
      for (const fromSeq of [4, 4, 5]) assert.equal((await bring(owner, { fromSeq, timeS: 1 })).status, 200);
      assert.deepEqual(await notes(), [note(device.kid, 4, "owner", "north")]);
      assert.equal((await bring(owner, { fromSeq: 2, timeS: 2 })).status, 200);
      assert.deepEqual(await notes(), [note(device.kid, 2, "owner", "north"), note(device.kid, 4, "owner", "north")]);
      // Of a device without an owner the operator's own statement, made elsewhere, is one too.
      const other = await started.device({ genesis: { relayKey: started.key } });
      const operator = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
      assert.equal((await bring(operator, { fromSeq: 1, timeS: 1 }, other)).status, 200);
      assert.deepEqual(await notes(other), [note(other.kid, 1, "operator", "default")]);
    });

    it("are noted with the command's name where a command brings them", async () => {
      const content = { kid: device.identity.kid, fromSeq: 3, timeS: 1 };
      const statement = makeRevocation(owner.kid, content, (bytes) => must(owner.sign(bytes)));
      started.operate((operator) => operator.revokeBy(device.identity.kid, statement));
      const [{ who, detail } = assert.fail()] = await notes();
      assert.deepEqual([who, detail], ["command", { from_seq: 3, signed_by: "owner" }]);
    });

    itOfSqlite("are not in force without their note", async () => {
      const { database } = started.relay.store;
      database.exec("CREATE TRIGGER unnoted BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no note'); END");
      assert.equal((await bring(owner, { fromSeq: 3, timeS: 1 })).problem?.code, "STORE_FAILED");
      database.exec("DROP TRIGGER unnoted");
      assert.equal((await fetch(`${started.url}/v1/devices/${device.kid}/revocation`)).status, 404);
      device.appendReading(1);
      device.read(await device.send(started.url, 6), started.key);
    });
  });

  describe("of operator tokens", () => {
    const self = async (token: string) => (await ask(started.url, "GET", "/v1/operator/self", token)).status;
    const make = async (by: string, body: object): Promise<string> => {
      const answer = await ask(started.url, "POST", "/v1/operator/tokens", by, { role: "admin", label: "x", ...body });
      assert.equal(answer.status, 200, answer.text);
      return answer.body.token;
    };
    const revoke = async (by: string, token: string, query = "") =>
      ask(started.url, "DELETE", `/v1/operator/tokens/${idOf(token)}${query}`, by);
    const sorted = (...tokens: string[]) => tokens.map(idOf).sort();

    it("leave what a token made, so that the next one can be made by the last, and say which those are", async () => {
      const root = operatorToken(started, "admin", "north");
      const next = await make(root, {});
      const { status, body } = await revoke(next, root);
      assert.deepEqual([status, body.revoked_with_it, body.made], [200, [], [idOf(next)]]);
      assert.deepEqual([await self(root), await self(next)], [401, 200]);
    });

    it("take all that a token made with it where that is asked for, through any that has ended, and note each", async () => {
      const root = operatorToken(started, "admin");
      const thief = await make(root, { tenant: "north" });
      const made = await make(thief, {});
      const further = await make(made, {});
      const beside = await make(root, { tenant: "north" });
      await revoke(root, made);
      assert.equal(await self(further), 200);
      const before = (await changes()).length;
      const { body } = await revoke(root, thief, "?with_made=true");
      assert.deepEqual([body.id, body.revoked_with_it, body.made], [idOf(thief), sorted(further), []]);
      assert.deepEqual(await Promise.all([thief, made, further, beside, root].map(self)), [401, 401, 401, 200, 200]);
      const noted = (await changes()).slice(0, -before).filter(({ what }) => what === "operator token revoke");
      assert.deepEqual(noted, [
        {
          ...{ who: idOf(root), tenant: "north", what: "operator token revoke", about: idOf(further) },
          detail: { made_by: idOf(made), with: idOf(thief) },
        },
        { who: idOf(root), tenant: "north", what: "operator token revoke", about: idOf(thief), detail: {} },
      ]);
    });

    it("take them afterwards, too, once, and nobody's of another tenant", async () => {
      const root = operatorToken(started, "admin");
      const [north, south] = [await make(root, { tenant: "north" }), await make(root, { tenant: "south" })];
      const ofNorth = await make(north, {});
      await revoke(root, root);
      const ofSouth = operatorToken(started, "admin", "south");
      assert.equal((await revoke(ofSouth, north, "?with_made=true")).body.code, "OPERATOR_TOKEN_UNKNOWN");
      assert.equal((await revoke(ofSouth, root, "?with_made=true")).body.code, "OPERATOR_TOKEN_UNKNOWN");
      const all = operatorToken(started, "admin");
      for (const expected of [sorted(north, south, ofNorth), []]) {
        const { body } = await revoke(all, root, "?with_made=true");
        assert.deepEqual([body.revoked_with_it, body.made], [expected, []]);
      }
      assert.deepEqual(await Promise.all([north, south, ofNorth, ofSouth, all].map(self)), [401, 401, 401, 200, 200]);
      assert.equal((await revoke(all, root, "?with_made=perhaps")).body.code, "REQUEST_MALFORMED");
    });
  });
});
