import assert from "node:assert/strict";
import { pino } from "pino";
import { toHex } from "tallystick/bytes/bytes";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { ROLES, type Role } from "../../../hosts/relay/operators/roles.js";
import { guardOperatorRoutes } from "../../../hosts/relay/routes/operator/guard.js";
import { createServer } from "../../../hosts/relay/server.js";
import type { FixtureDevice } from "../../fixtures/device.js";
import { FixtureDevice as Device } from "../../fixtures/device.js";
import { operationsOf } from "../openapi/complaints.js";
import { MANY_ATTEMPTS, ORIGIN, StartedRelay } from "../started.js";
import {
  type Answered,
  ask,
  enrolmentToken,
  idOf,
  makeTenant,
  operatorToken,
  revokeToken,
  stateOf,
} from "./operators.js";

const DAY_MS = 86_400_000;

/** What each route is expected to take, said again here: a guard that is left out or lowered shows. */
interface Expected {
  readonly role: Role;
  readonly ofAll?: true;
  /** The code for what is another tenant's; undefined where the route names nothing that has a tenant. */
  readonly other?: string;
  readonly body?: (name: Names) => unknown;
}

interface Names {
  readonly kid: string;
  readonly enrolmentId: string;
  readonly operatorId: string;
  readonly tenant: string;
}

const EXPECTED: Readonly<Record<string, Expected>> = {
  "GET /v1/operator/self": { role: "viewer" },
  "GET /v1/operator/devices": { role: "viewer" },
  "GET /v1/operator/devices/{kid}": { role: "viewer", other: "DEVICE_UNKNOWN" },
  "POST /v1/operator/devices/{kid}/decision": {
    role: "operator",
    other: "DEVICE_UNKNOWN",
    body: () => ({ what: "hold" }),
  },
  "POST /v1/operator/devices/{kid}/revocation": {
    role: "operator",
    other: "DEVICE_UNKNOWN",
    // From a lower position each time: the same again changes nothing.
    body: () => ({ from_seq: 10_000 - ++made, reason: "lost" }),
  },
  "GET /v1/operator/enrolment-tokens": { role: "viewer" },
  "POST /v1/operator/enrolment-tokens": {
    role: "operator",
    other: "TENANT_UNKNOWN",
    body: ({ tenant }) => ({ tenant, lifetime_s: 600 }),
  },
  "DELETE /v1/operator/enrolment-tokens/{id}": { role: "operator", other: "ENROLMENT_TOKEN_UNKNOWN" },
  "GET /v1/operator/tokens": { role: "admin" },
  "POST /v1/operator/tokens": {
    role: "admin",
    other: "TENANT_UNKNOWN",
    body: ({ tenant }) => ({ role: "viewer", label: "made", tenant }),
  },
  "DELETE /v1/operator/tokens/{id}": { role: "admin", other: "OPERATOR_TOKEN_UNKNOWN" },
  "GET /v1/operator/tenants": { role: "viewer" },
  "POST /v1/operator/tenants": {
    role: "admin",
    ofAll: true,
    body: () => ({ name: `made-${++made}` }),
  },
  "GET /v1/operator/audit": { role: "admin" },
};
let made = 0;

describe("relay: every route of the operator API", () => {
  let started: StartedRelay;
  let routes: { method: string; path: string; security: unknown }[];
  const devices: Record<string, FixtureDevice> = {};

  before(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
    for (const tenant of ["north", "south"]) {
      makeTenant(started, tenant);
      const token = enrolmentToken(started, tenant);
      const device = new Device({ crypto: relayCrypto });
      device.read(await device.enrol(started.url, ORIGIN, token), started.key);
      devices[tenant] = device;
    }
    const document = await (await fetch(`${started.url}/openapi.json`)).json();
    routes = operationsOf(document as Parameters<typeof operationsOf>[0])
      .filter(({ path }) => path.startsWith("/v1/operator/"))
      .map(({ method, path, operation }) => {
        return { method, path, security: (operation as { security?: unknown }).security };
      });
  });
  after(() => started.close());

  /** Things of `tenant` that a route can be about, made anew. */
  function namesOf(tenant: string): Names {
    const token = enrolmentToken(started, tenant);
    const enrolmentId = toHex(relayCrypto.sha256(new Uint8Array(Buffer.from(token, "ascii"))));
    const operatorId = idOf(operatorToken(started, "viewer", tenant));
    return { kid: devices[tenant]!.kid, enrolmentId, operatorId, tenant };
  }

  function urlOf(path: string, names: Names): string {
    const id = path.includes("enrolment-tokens") ? names.enrolmentId : names.operatorId;
    return path.replace("{kid}", names.kid).replace("{id}", id);
  }

  async function each(
    tenant: string,
    token: (expected: Expected) => string | undefined,
    check: (answer: Answered, route: string, expected: Expected) => void,
    chosen: (expected: Expected) => boolean = () => true,
  ): Promise<void> {
    assert.ok(routes.length > 10);
    for (const { method, path } of routes) {
      const route = `${method} ${path}`;
      const expected = EXPECTED[route]!;
      if (!chosen(expected)) continue;
      const names = namesOf(tenant);
      const authorization = token(expected);
      const before = stateOf(started);
      const rows = auditRows();
      const answer = await ask(started.url, method, urlOf(path, names), authorization, expected.body?.(names));
      check(answer, route, expected);
      assert.equal(answer.headers.get("cache-control"), "no-store", route);
      assert.equal(answer.headers.get("access-control-allow-origin"), null, route);
      if (answer.status !== 200) {
        assert.deepEqual(stateOf(started), before, `${route} has changed something`);
      } else if (method !== "GET") assert.equal(auditRows(), rows + 1, `${route} is noted`);
    }
  }

  function auditRows(): number {
    return started.relay.store.database.prepare("SELECT count(*) FROM audit").pluck().get() as number;
  }

  const isCode = (status: number, code: string) => (answer: Answered, route: string) => {
    assert.equal(answer.body?.code, code, `${route}: ${answer.text}`);
    assert.equal(answer.status, status, route);
    assert.equal(answer.headers.get("content-type"), "application/problem+json; charset=utf-8", route);
    assert.equal(answer.headers.get("www-authenticate"), status === 401 ? "Bearer" : null, route);
  };

  it("is known here with the role that it takes, and says in OpenAPI that it takes a token", () => {
    const found = routes.map(({ method, path }) => `${method} ${path}`);
    assert.deepEqual(found.sort(), Object.keys(EXPECTED).sort());
    for (const { security, path } of routes) assert.deepEqual(security, [{ operator: [] }], path);
  });

  it("cannot be added without a role", () => {
    const app = createServer({ logger: pino({ level: "silent" }), onFault: () => undefined, isStopping: () => false });
    guardOperatorRoutes(app, {} as Parameters<typeof guardOperatorRoutes>[1]);
    assert.throws(() => app.get("/v1/operator/new", { schema: { summary: "new" } }, async () => "open"), /a role/);
  });

  it("refuses who brings no token", () => each("north", () => undefined, isCode(401, "OPERATOR_UNKNOWN")));

  for (const [what, header] of [
    ["no bearer", "Basic b3BlcmF0b3I6c2VjcmV0"],
    ["words", "Bearer no such token"],
    ["another prefix", `Bearer tsxx_${"0".repeat(16)}_${"0".repeat(64)}`],
    ["one that is too short", `Bearer tsop_${"0".repeat(16)}_${"0".repeat(63)}`],
    ["one that nobody made", `Bearer tsop_${"0".repeat(16)}_${"0".repeat(64)}`],
  ] as const)
    it(`refuses ${what}`, () => each("north", () => header, isCode(401, "OPERATOR_UNKNOWN")));

  it("refuses a known id with another secret", () =>
    each(
      "north",
      ({ role }) => {
        const token = operatorToken(started, role, "north");
        return token.slice(0, -1) + (token.endsWith("0") ? "1" : "0");
      },
      isCode(401, "OPERATOR_UNKNOWN"),
    ));

  it("refuses a token whose time has passed", () =>
    each(
      "north",
      () => operatorToken(started, "admin", undefined, { nowMs: Date.now() - 2 * DAY_MS, lifetimeMs: DAY_MS }),
      isCode(401, "OPERATOR_TOKEN_ENDED"),
    ));

  it("refuses a token that was revoked", () =>
    each(
      "north",
      () => {
        const token = operatorToken(started, "admin");
        revokeToken(started, token);
        return token;
      },
      isCode(401, "OPERATOR_TOKEN_ENDED"),
    ));

  it("refuses each role below its own, of the tenant and of all", async () => {
    for (const role of ROLES)
      for (const tenant of ["north", undefined])
        await each(
          "north",
          () => operatorToken(started, role, tenant),
          isCode(403, "OPERATOR_ROLE_TOO_LOW"),
          (expected) =>
            ROLES.indexOf(role) < ROLES.indexOf(expected.role) || (expected.ofAll === true && tenant !== undefined),
        );
  });

  it("finds nothing of another tenant's, in the words for what is not there", () =>
    each(
      "south",
      () => operatorToken(started, "admin", "north"),
      (answer, route, { other }) => isCode(404, other!)(answer, route),
      ({ other }) => other !== undefined,
    ));

  it("lists nothing of another tenant's", async () => {
    const south = namesOf("south");
    await ask(
      started.url,
      "POST",
      `/v1/operator/devices/${south.kid}/decision`,
      operatorToken(started, "admin", "south"),
      { what: "continue" },
    );
    const north = operatorToken(started, "admin", "north");
    const all = operatorToken(started, "admin");
    for (const { method, path } of routes.filter(({ method, path }) => method === "GET" && !path.includes("{"))) {
      const route = `${method} ${path}`;
      const { text, status } = await ask(started.url, method, path, north);
      assert.equal(status, 200, route);
      for (const name of Object.values(south)) assert.equal(text.includes(name), false, `${route} tells ${name}`);
      const narrowed = await ask(started.url, method, `${path}?tenant=south`, north);
      const takesTenant = !["/v1/operator/self", "/v1/operator/tenants"].includes(path);
      if (!takesTenant) continue;
      isCode(404, "TENANT_UNKNOWN")(narrowed, route);
      const unknown = await ask(started.url, method, `${path}?tenant=nowhere`, north);
      assert.equal(unknown.text.replaceAll("nowhere", "south"), narrowed.text, route);
      const whole = await ask(started.url, method, `${path}?tenant=south&limit=1000`, all);
      assert.ok(
        Object.values(south).some((name) => whole.text.includes(name)),
        `${route}: ${whole.text}`,
      );
      assert.equal(whole.text.includes(devices["north"]!.kid), false, route);
    }
  });

  it("answers who may, of the tenant and of all", async () => {
    for (const tenant of ["north", undefined])
      await each(
        "north",
        ({ role }) => operatorToken(started, role, tenant),
        (answer, route) => assert.equal(answer.status, 200, `${route}: ${answer.text}`),
        ({ ofAll }) => !ofAll || tenant === undefined,
      );
  });

  it("answers HEAD to nobody whom it would not answer GET", async () => {
    for (const { path } of routes.filter(({ method }) => method === "GET")) {
      const url = `${started.url}${urlOf(path, namesOf("north"))}`;
      assert.equal((await fetch(url, { method: "HEAD" })).status, 401, path);
    }
  });

  it("shows a device of another tenant as it shows one that is not there, headers and bytes", async () => {
    const north = operatorToken(started, "admin", "north");
    const stranger = new Device({ crypto: relayCrypto }).kid;
    for (const { method, path } of routes.filter(({ path }) => path.includes("{kid}"))) {
      const body = EXPECTED[`${method} ${path}`]!.body?.(namesOf("south"));
      const asked = (kid: string) => ask(started.url, method, path.replace("{kid}", kid), north, body);
      const [other, unknown] = [await asked(devices["south"]!.kid), await asked(stranger)];
      assert.equal(other.text, unknown.text.replaceAll(stranger, devices["south"]!.kid), path);
      const headersOf = ({ headers }: Answered) => [...headers].filter(([name]) => name !== "date");
      assert.deepEqual(headersOf(other), headersOf(unknown), path);
      assert.equal(other.status, unknown.status);
    }
  });

  it("takes no body but JSON that its schema has, and JSON nowhere else", async () => {
    const north = operatorToken(started, "admin", "north");
    const path = `/v1/operator/devices/${devices["north"]!.kid}/decision`;
    for (const body of [{}, { what: "forget" }, { what: "hold", tenant: "south" }, [], null])
      isCode(400, "REQUEST_BODY_INVALID")(await ask(started.url, "POST", path, north, body), JSON.stringify(body));
    const forget = await ask(started.url, "POST", path, north, { what: "forget" });
    const { title, detail } = forget.body as { title?: string; detail?: string };
    assert.deepEqual(
      [title, detail],
      ["the request's body is not what its route takes", 'body/what: expected one of "hold", "continue"'],
    );
    for (const text of ["{", ""]) {
      const headers = { authorization: `Bearer ${north}`, "content-type": "application/json" };
      const answer = await fetch(`${started.url}${path}`, { method: "POST", headers, body: text });
      assert.equal(((await answer.json()) as { code: string }).code, "REQUEST_BODY_INVALID", text);
    }
    for (const [url, type, body] of [
      [path, "application/cbor", "\u0000"],
      [path, "text/plain", "hold"],
      ["/v1/devices", "application/json", "{}"],
      [`/v1/devices/${devices["north"]!.kid}/head`, "application/json; charset=utf-8", "{}"],
    ] as const) {
      const headers = { "content-type": type, authorization: `Bearer ${north}` };
      const answer = await fetch(`${started.url}${url}`, { method: "POST", headers, body });
      assert.equal(((await answer.json()) as { code: string }).code, "MEDIA_TYPE_UNKNOWN", `${url} ${type}`);
    }
  });
});
