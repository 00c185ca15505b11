import assert from "node:assert/strict";
import { timingSafeEqual } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import { ATTEMPTS_BURST, ATTEMPTS_REFILL_MS } from "../../../hosts/relay/attempts.js";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { administer } from "../../../hosts/relay/enrol.js";
import { Credentials, USED_EVERY_MS } from "../../../hosts/relay/operators/credentials.js";
import { OperatorStore } from "../../../hosts/relay/store/operators.js";
import { OVER_POSTGRES } from "../postgres/shared.js";
import { failureOf, must, StartedRelay } from "../started.js";
import { ask, idOf, makeTenant, operatorToken } from "./operators.js";

const SELF = "/v1/operator/self";
const NOBODYS = `tsop_${"0".repeat(16)}_${"0".repeat(64)}`;

describe("relay: operator tokens", () => {
  let started: StartedRelay;
  let nowMs = 1_800_000_000_000;
  const lines: string[] = [];

  beforeEach(async () => {
    lines.length = 0;
    const logger = pino({ level: "trace", messageKey: "event" }, { write: (line: string) => void lines.push(line) });
    started = await StartedRelay.start({ nowMs: () => nowMs, logger: logger as Logger });
  });
  afterEach(() => started.close());

  it("are compared once each in constant time, known or not", () => {
    const compared: [Uint8Array, Uint8Array][] = [];
    const credentials = new Credentials({
      store: new OperatorStore(started.relay.store.database),
      sha256: relayCrypto.sha256,
      nowMs: () => nowMs,
      isEqual: (a, b) => {
        compared.push([a, b]);
        return timingSafeEqual(a, b);
      },
    });
    const token = operatorToken(started, "viewer", undefined, { nowMs });
    const wrong = token.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    for (const [sent, isRight] of [
      [token, true],
      [wrong, false],
      [NOBODYS, false],
    ] as const) {
      compared.length = 0;
      assert.equal(credentials.check(`Bearer ${sent}`).ok, isRight);
      assert.equal(compared.length, 1, sent);
      assert.deepEqual(
        compared[0]!.map(({ length }) => length),
        [32, 32],
      );
      assert.deepEqual([...compared[0]![0]], [...relayCrypto.sha256(new Uint8Array(Buffer.from(sent, "ascii")))]);
    }
    const [first] = compared[0]!.slice(1);
    assert.equal(credentials.check(`Bearer ${NOBODYS.replace(/.$/, "1")}`).ok, false);
    assert.deepEqual(compared.at(-1)![1], first, "what nobody's token is compared with is one thing");
    assert.deepEqual(
      failureOf(credentials.check(`Bearer ${wrong}`)),
      failureOf(credentials.check(`Bearer ${NOBODYS}`)),
      "a known id is answered as an unknown one",
    );
  });

  it("are compared by timingSafeEqual and nothing else where nobody says otherwise", () => {
    const source = readFileSync(new URL("../../../hosts/relay/operators/credentials.ts", import.meta.url), "utf8");
    assert.match(source, /this\.#isEqual = options\.isEqual \?\? timingSafeEqual;/);
    assert.doesNotMatch(source, /sha256 ===|equalBytes/);
  });

  it("stand nowhere but with who has them: not in the database, its files, logs or answers", async () => {
    const token = operatorToken(started, "admin", undefined, { nowMs });
    const made = await ask(started.url, "POST", "/v1/operator/tokens", token, { role: "viewer", label: "x" });
    const enrolment = await ask(started.url, "POST", "/v1/operator/enrolment-tokens", token, {});
    const wrong = token.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    const answers = [
      await ask(started.url, "GET", SELF, wrong),
      await ask(started.url, "GET", "/v1/operator/tokens", token),
      await ask(started.url, "GET", "/v1/operator/enrolment-tokens", token),
      await ask(started.url, "GET", "/v1/operator/audit", token),
      await ask(started.url, "POST", "/v1/operator/tokens", token, { role: "king", label: made.body.token }),
    ].map(({ text }) => text);
    const secrets = [token, wrong, made.body.token].map((text: string) => text.split("_")[2]!);
    secrets.push(enrolment.body.token);
    const files = readdirSync(started.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
    assert.ok(lines.some((line) => line.includes("operator acted")));
    assert.ok(lines.some((line) => line.includes("operator refused")));
    for (const secret of secrets)
      for (const text of [...answers, ...files, ...lines])
        assert.equal(text.includes(secret), false, text.slice(0, 200));
    const stored = must(
      administer(started.folder, (on) => ({ ok: true, value: on.operatorTokens(undefined, "", 10) }), started.where),
    );
    if (!OVER_POSTGRES)
      assert.ok(files.some((file) => file.includes(Buffer.from(stored[0]!.sha256).toString("latin1"))));
  });

  it("open nothing where none was made, and answer as if nothing were there", async () => {
    const answer = await ask(started.url, "GET", SELF, NOBODYS);
    assert.deepEqual([answer.status, answer.body.code], [404, "ROUTE_UNKNOWN"]);
    operatorToken(started, "viewer", undefined, { nowMs });
    assert.equal((await ask(started.url, "GET", SELF, NOBODYS)).status, 401);
  });

  it("may be wrong as often as the address's budget allows; a right one comes in all the same", async () => {
    const token = operatorToken(started, "viewer", undefined, { nowMs });
    for (let n = 0; n < ATTEMPTS_BURST; n++) assert.equal((await ask(started.url, "GET", SELF, NOBODYS)).status, 401);
    const exhausted = await ask(started.url, "GET", SELF, "Bearer nonsense");
    assert.deepEqual([exhausted.status, exhausted.body.code], [429, "ATTEMPTS_EXHAUSTED"]);
    assert.equal(exhausted.headers.get("retry-after"), String(ATTEMPTS_REFILL_MS / 1000));
    assert.equal((await ask(started.url, "GET", SELF, token)).status, 200);
    assert.equal((await ask(started.url, "GET", SELF, undefined)).body.code, "OPERATOR_UNKNOWN", "is no try");
    // A device's enrolments have a budget of their own.
    assert.equal((await started.device({}, nowMs)).chain.length, 1);
    assert.equal(lines.filter((line) => line.includes("operator refused")).length, ATTEMPTS_BURST);
    nowMs += ATTEMPTS_REFILL_MS;
    assert.equal((await ask(started.url, "GET", SELF, NOBODYS)).status, 401);
  });

  it("count until they expire, and no longer", async () => {
    const token = operatorToken(started, "viewer", undefined, { nowMs, lifetimeMs: 1000 });
    nowMs += 999;
    assert.equal((await ask(started.url, "GET", SELF, token)).status, 200);
    nowMs += 1;
    assert.equal((await ask(started.url, "GET", SELF, token)).body.code, "OPERATOR_TOKEN_ENDED");
  });

  it("say when they were used, which is written once a minute", async () => {
    const token = operatorToken(started, "viewer", undefined, { nowMs });
    const first = nowMs;
    const used = () => new OperatorStore(started.relay.store.database).operatorToken(idOf(token))!.usedAtMs;
    for (const [later, expected] of [
      [0, first],
      [USED_EVERY_MS - 1, first],
      [USED_EVERY_MS, first + USED_EVERY_MS],
    ] as const) {
      nowMs = first + later;
      await ask(started.url, "GET", SELF, token);
      assert.equal(used(), expected);
    }
  });

  it("give away no more than they hold", async () => {
    makeTenant(started, "north");
    const north = operatorToken(started, "admin", "north", { nowMs });
    const whole = operatorToken(started, "admin", undefined, { nowMs });
    const make = (by: string, body: object) =>
      ask(started.url, "POST", "/v1/operator/tokens", by, { label: "made", ...body });
    const own = await make(north, { role: "admin" });
    assert.equal(own.body.tenant, "north", "without a tenant its own, never all");
    assert.equal((await make(north, { role: "viewer", tenant: "default" })).body.code, "TENANT_UNKNOWN");
    assert.equal((await make(whole, { role: "admin" })).body.tenant, undefined);
    for (const role of ["viewer", "operator"])
      assert.equal(
        (await make(operatorToken(started, role as "viewer", "north", { nowMs }), { role: "viewer" })).status,
        403,
      );
    const path = `/v1/operator/tokens/${idOf(whole)}`;
    assert.equal((await ask(started.url, "DELETE", path, north)).body.code, "OPERATOR_TOKEN_UNKNOWN");
    assert.equal((await ask(started.url, "DELETE", `/v1/operator/tokens/${idOf(north)}`, whole)).status, 200);
    assert.equal((await ask(started.url, "GET", SELF, north)).body.code, "OPERATOR_TOKEN_ENDED");
  });

  it("work on a listener of their own, and then not beside devices; or nowhere", async () => {
    const token = operatorToken(started, "viewer", undefined, { nowMs });
    await started.restart({ nowMs: () => nowMs, operator: { port: 0 } });
    const { url, operatorUrl } = started.relay;
    assert.notEqual(operatorUrl, url);
    assert.equal((await ask(operatorUrl!, "GET", SELF, token)).status, 200);
    assert.equal((await ask(url, "GET", SELF, token)).body.code, "ROUTE_UNKNOWN");
    assert.equal((await fetch(`${operatorUrl}/v1/devices`)).status, 404);
    await started.restart({ nowMs: () => nowMs, operator: "off" });
    assert.equal(started.relay.operatorUrl, undefined);
    assert.equal((await ask(started.url, "GET", SELF, token)).body.code, "ROUTE_UNKNOWN");
  });
});
