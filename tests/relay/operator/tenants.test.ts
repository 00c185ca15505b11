import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { fail } from "tallystick/codes/codes";
import { encodeSuccessionRequest, makeSuccession } from "tallystick/sync/succession";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { administer, makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import { pathsOf } from "../../../hosts/relay/folder.js";
import { Operator } from "../../../hosts/relay/operate.js";
import {
  Administration,
  deniedTo,
  FREE_ENROLMENT_TOKENS_MAX,
  OPERATOR_TOKENS_MAX,
  TENANTS_MAX,
} from "../../../hosts/relay/operators/administration.js";
import { COMMAND_ACTOR } from "../../../hosts/relay/operators/roles.js";
import { OperatorStore } from "../../../hosts/relay/store/operators.js";
import { FixtureDevice, post } from "../../fixtures/device.js";
import { FixtureMaker } from "../../fixtures/maker.js";
import { setBackTo } from "../older-store.js";
import { itOfSqlite } from "../postgres/of-sqlite.js";
import { failureOf, must, ORIGIN, StartedRelay } from "../started.js";
import { ask, idOf, makeTenant, operatorToken, stateOf } from "./operators.js";

describe("relay: tenants", () => {
  let started: StartedRelay;
  beforeEach(async () => {
    started = await StartedRelay.start();
    makeTenant(started, "north");
  });
  afterEach(() => started.close());

  function tenantOf(device: FixtureDevice): string {
    return started.relay.store.deviceByKid(device.identity.kid)!.tenant;
  }

  async function enrol(tenant?: string, options = {}): Promise<FixtureDevice> {
    const { token } = must(
      makeEnrolmentToken(started.folder, { ...(tenant !== undefined && { tenant }), ...started.where }),
    );
    const device = new FixtureDevice({ crypto: relayCrypto, ...options });
    device.read(await device.enrol(started.url, ORIGIN, token), started.key);
    return device;
  }

  it("have the devices that come by their tokens; what comes by none is of the default or of another that is named", async () => {
    assert.equal(tenantOf(await enrol()), "default");
    assert.equal(tenantOf(await enrol("north")), "north");
    for (const [options, expected] of [
      [{ openEnrolment: true }, "default"],
      [{ openEnrolment: true, tenant: "north" }, "north"],
    ] as const) {
      await started.restart(options);
      const device = new FixtureDevice({ crypto: relayCrypto });
      device.read(await device.enrol(started.url, ORIGIN, undefined), started.key);
      assert.equal(tenantOf(device), expected);
    }
    assert.equal(
      failureOf(makeEnrolmentToken(started.folder, { tenant: "nowhere", ...started.where })).code,
      "TENANT_UNKNOWN",
    );
    await assert.rejects(started.restart({ tenant: "nowhere" }), /TENANT_UNKNOWN/);
    await started.reopen({});
  });

  it("keep a device over a restart, and one that a maker vouches for and a token names", async () => {
    const maker = new FixtureMaker(relayCrypto);
    await started.restart({ makers: [maker.identity.publicKey] });
    const seed = new Uint8Array(32).fill(0x43);
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    const device = await enrol("north", { seed, genesis: { statement: maker.vouch(publicKey) } });
    await started.restart();
    assert.equal(tenantOf(device), "north");
  });

  it("keep what a device's next key sends, by a rotation and by a statement", async () => {
    for (const how of ["rotation", "statement"] as const) {
      const former = await enrol("north");
      const seed = new Uint8Array(randomBytes(32));
      const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
      const head = { seq: former.head.seq, id: former.head.id };
      const rotation = how === "rotation" ? former.appendRotate(publicKey) : undefined;
      const last = rotation ? { seq: former.head.seq, id: former.head.id } : head;
      const predecessor = { kid: former.identity.kid, ...last };
      const next = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { predecessor } });
      const word = rotation
        ? { rotation }
        : {
            statement: makeSuccession(former.identity.kid, { origin: ORIGIN, head, publicKey }, (bytes) =>
              must(former.identity.sign(bytes)),
            ),
          };
      const body = encodeSuccessionRequest({ request: next.request(), genesis: next.chain[0]!, ...word });
      next.read(await post(`${started.url}/v1/devices/${former.kid}/succession`, body), started.key);
      assert.equal(tenantOf(next), "north", how);
    }
  });

  it("let nobody in by an enrolment token that was ended", async () => {
    const token = operatorToken(started, "operator", "north");
    const made = await ask(started.url, "POST", "/v1/operator/enrolment-tokens", token, {});
    const page = await ask(started.url, "GET", "/v1/operator/enrolment-tokens", token);
    assert.deepEqual(
      page.body.tokens.map(({ state }: { state: string }) => state),
      ["free"],
    );
    const { id } = page.body.tokens[0];
    const ended = await ask(started.url, "DELETE", `/v1/operator/enrolment-tokens/${id}`, token);
    assert.equal(ended.body.state, "ended");
    const device = new FixtureDevice({ crypto: relayCrypto });
    assert.equal((await device.enrol(started.url, ORIGIN, made.body.token)).problem?.code, "TOKEN_INVALID");
    const other = await ask(started.url, "POST", "/v1/operator/enrolment-tokens", token, {});
    device.read(await device.enrol(started.url, ORIGIN, other.body.token), started.key);
    const states = (await ask(started.url, "GET", "/v1/operator/enrolment-tokens", token)).body.tokens;
    const used = states.find(({ state }: { state: string }) => state === "used");
    assert.equal(used.used_by, device.kid);
    const spent = await ask(started.url, "DELETE", `/v1/operator/enrolment-tokens/${used.id}`, token);
    assert.equal(spent.body.code, "ENROLMENT_TOKEN_SPENT");
  });

  it("are told in pages, each device once", async () => {
    const kids: string[] = [];
    for (let n = 0; n < 5; n++) kids.push((await enrol("north")).kid);
    await enrol();
    const token = operatorToken(started, "viewer", "north");
    const found: string[] = [];
    for (let after = ""; ; ) {
      const { body } = await ask(started.url, "GET", `/v1/operator/devices?limit=2${after}`, token);
      found.push(...body.devices.map(({ kid }: { kid: string }) => kid));
      if (body.next === undefined) break;
      after = `&after=${body.next}`;
    }
    assert.deepEqual(found, kids.sort());
  });

  it("decide about their devices as the command does, and each decision is noted with who made it", async () => {
    const device = await enrol("north");
    device.appendReading(1);
    const token = operatorToken(started, "operator", "north");
    const path = `/v1/operator/devices/${device.kid}`;
    const held = await ask(started.url, "POST", `${path}/decision`, token, { what: "hold" });
    assert.equal(typeof held.body.held_since_ms, "number");
    assert.equal((await device.send(started.url, 1)).problem?.code, "DEVICE_FORKED");
    await ask(started.url, "POST", `${path}/decision`, token, { what: "continue" });
    device.read(await device.send(started.url, 1), started.key);
    const revoked = await ask(started.url, "POST", `${path}/revocation`, token, { from_seq: 2, reason: "sold" });
    assert.equal(revoked.body.revoked_from, 2);
    const later = await ask(started.url, "POST", `${path}/revocation`, token, { from_seq: 7 });
    assert.equal(later.body.revoked_from, 2, "changes nothing, and is not noted");
    started.operate((operator) => operator.decide(device.identity.kid, "hold"));
    const { body } = await ask(started.url, "GET", "/v1/operator/audit", operatorToken(started, "admin", "north"));
    assert.deepEqual(
      body.changes
        .filter(({ about }: { about: string }) => about === device.kid)
        .map(({ who, what, tenant, detail }: Record<string, unknown>) => [who, what, tenant, detail]),
      [
        ["command", "device hold", "north", {}],
        [idOf(token), "device revoke", "north", { from_seq: 2, reason: "sold" }],
        [idOf(token), "device continue", "north", {}],
        [idOf(token), "device hold", "north", {}],
      ],
    );
  });

  itOfSqlite("lose no change without its note, and have no note without its change", async () => {
    const device = await enrol("north");
    const token = operatorToken(started, "admin");
    const { database } = started.relay.store;
    const path = `/v1/operator/devices/${device.kid}`;
    const before = stateOf(started);
    database.exec("CREATE TRIGGER unnoted BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no note'); END");
    const { id } = (await ask(started.url, "GET", "/v1/operator/self", token)).body;
    for (const [method, url, body] of [
      ["POST", `${path}/decision`, { what: "hold" }],
      ["POST", `${path}/revocation`, { from_seq: 1 }],
      ["POST", "/v1/operator/tenants", { name: "east" }],
      ["POST", "/v1/operator/tokens", { role: "viewer", label: "x" }],
      ["POST", "/v1/operator/enrolment-tokens", {}],
      ["DELETE", `/v1/operator/tokens/${id}`, undefined],
    ] as const) {
      const answer = await ask(started.url, method, url, token, body);
      assert.equal(answer.body.code, "STORE_FAILED", `${method} ${url} ${answer.text}`);
      assert.deepEqual(stateOf(started), before, `${method} ${url}`);
    }
    database.exec("DROP TRIGGER unnoted");
    assert.equal((await ask(started.url, "POST", `${path}/decision`, token, { what: "hold" })).status, 200);
  });

  itOfSqlite("are of the default name for what a store of version 4 holds", async () => {
    const device = await enrol("north");
    const { token } = must(makeEnrolmentToken(started.folder, started.where));
    await started.relay.close();
    setBackTo(4, pathsOf(started.folder).store).close();
    await started.reopen();
    assert.equal(tenantOf(device), "default");
    const again = new FixtureDevice({ crypto: relayCrypto });
    again.read(await again.enrol(started.url, ORIGIN, token), started.key);
    assert.equal(tenantOf(again), "default");
    const tenants = must(administer(started.folder, (on) => ({ ok: true, value: on.tenants() }), started.where));
    assert.deepEqual(tenants, [{ name: "default", madeAtMs: 0 }]);
    makeTenant(started, "north");
    started.operate((operator) => operator.assign(device.identity.kid, "north"));
    assert.equal(tenantOf(device), "north");
    const failure = started.operate((operator) => ({
      ok: true,
      value: failureOf(operator.assign(device.identity.kid, "nowhere")),
    }));
    assert.equal(failure.code, "TENANT_UNKNOWN");
  });

  it("are no more than may be, nor are tokens", () => {
    const { database } = started.relay.store;
    const store = new OperatorStore(database);
    const nowMs = Date.now();
    const on = new Administration({
      store,
      database,
      sha256: relayCrypto.sha256,
      nowMs: () => nowMs,
      actor: COMMAND_ACTOR,
    });
    store.transaction(() => {
      while (store.tenants().length < TENANTS_MAX) store.addTenant(`t${store.tenants().length}`, nowMs);
      for (let n = 0; n < OPERATOR_TOKENS_MAX; n++)
        store.addOperatorToken({
          id: n.toString(16).padStart(16, "0"),
          sha256: new Uint8Array(32),
          tenant: undefined,
          role: "viewer",
          label: "",
          madeBy: "command",
          madeAtMs: nowMs,
          expiresAtMs: nowMs + 1,
        });
      const add = database.prepare("INSERT INTO tokens (sha256, made_at_ms, expires_at_ms) VALUES (?, 0, ?)");
      for (let n = 0; n < FREE_ENROLMENT_TOKENS_MAX; n++) add.run(randomBytes(32), nowMs + 1);
    });
    for (const failure of [
      failureOf(on.makeTenant("east")),
      failureOf(on.makeOperatorToken({ role: "viewer", label: "" })),
      failureOf(on.makeEnrolmentToken({})),
    ])
      assert.equal(failure.code, "OPERATOR_LIMIT_REACHED", failure.detail);
    must(on.makeEnrolmentToken({ tenant: "north" }));
    must(on.revokeOperatorToken("0".repeat(16)));
    must(on.makeOperatorToken({ role: "viewer", label: "" }));
    for (const name of ["", "-a", "a-", "A", "a b", "a".repeat(64), "ä"])
      assert.equal(failureOf(on.makeTenant(name)).code, "TENANT_NAME_UNUSABLE", name);
  });

  it("are all that an actor of theirs finds, whatever a route asks for", async () => {
    makeTenant(started, "south");
    const device = await enrol("south");
    operatorToken(started, "viewer", "south");
    const { store } = started.relay;
    const { database } = store;
    const actor = { who: "x", role: "admin", tenant: "north" } as const;
    const openKey = () => fail("RELAY_KEY_MISSING", "none is needed");
    const operator = new Operator({ store, openKey, nowMs: Date.now, actor });
    const { sha256 } = relayCrypto;
    const parts = { store: new OperatorStore(database), database, sha256, nowMs: Date.now };
    const on = new Administration({ ...parts, actor });
    const all = new Administration({ ...parts, actor: COMMAND_ACTOR });
    const none = new Uint8Array(0);
    for (const asked of [undefined, "south"]) {
      assert.deepEqual(operator.page(none, 10, asked), []);
      assert.deepEqual([...operator.devices(asked)], []);
      assert.deepEqual(on.operatorTokens(asked, "", 10), []);
      assert.deepEqual(on.enrolmentTokens(asked, none, 10), []);
      assert.ok(on.changes(asked, Number.MAX_SAFE_INTEGER, 10).every(({ tenant }) => tenant === "north"));
    }
    assert.equal(failureOf(operator.device(device.identity.kid)).code, "DEVICE_UNKNOWN");
    assert.equal(all.operatorTokens("south", "", 10).length, 1);
    assert.equal(all.enrolmentTokens("south", none, 10).length, 1);
  });

  it("are not named where everybody may look", async () => {
    const device = await enrol("north");
    for (const path of ["/v1/devices", `/v1/devices/${device.kid}`, "/v1/relay"])
      assert.equal((await (await fetch(`${started.url}${path}`)).text()).includes("north"), false, path);
  });

  it("are denied what takes a role that their actor has not, whatever stands before", () => {
    const { database } = started.relay.store;
    const on = (role: "viewer" | "operator", tenant?: string) =>
      new Administration({
        store: new OperatorStore(database),
        database,
        sha256: relayCrypto.sha256,
        nowMs: Date.now,
        actor: { who: "x", role, tenant },
      });
    for (const failure of [
      failureOf(on("operator").makeTenant("east")),
      failureOf(on("operator").makeOperatorToken({ role: "viewer", label: "" })),
      failureOf(on("operator").revokeOperatorToken("0".repeat(16))),
      failureOf(on("viewer").makeEnrolmentToken({})),
      failureOf(on("viewer").endEnrolmentToken(new Uint8Array(32))),
    ])
      assert.equal(failure.code, "OPERATOR_ROLE_TOO_LOW");
    assert.equal(deniedTo({ who: "x", role: "admin", tenant: "north" }, "admin", true)?.code, "OPERATOR_ROLE_TOO_LOW");
  });
});
