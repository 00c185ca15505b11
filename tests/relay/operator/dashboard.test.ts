import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type Type from "typebox";
import type {
  Change,
  Device,
  EnrolmentToken,
  OperatorToken,
  Problem,
} from "../../../hosts/relay/dashboard/page/answers.js";
import { CONDITIONS, conditionOf, matches, stepOf, worstFirst } from "../../../hosts/relay/dashboard/page/condition.js";
import { duration } from "../../../hosts/relay/dashboard/page/times.js";
import type { Problem as RelayProblem } from "../../../hosts/relay/problem.js";
import type { DeviceShape } from "../../../hosts/relay/routes/operator/devices.js";
import type { ChangeShape } from "../../../hosts/relay/routes/operator/tenants.js";
import type { EnrolmentTokenShape, OperatorTokenShape } from "../../../hosts/relay/routes/operator/tokens.js";
import { StartedRelay } from "../started.js";
import { ask, operatorToken } from "./operators.js";

/** These compile only where what the API answers is what the page expects: to the compiler an answer's body may be anything. */
const asDevice = (device: Type.Static<typeof DeviceShape>): Device => device;
const asEnrolmentToken = (token: Type.Static<typeof EnrolmentTokenShape>): EnrolmentToken => token;
const asOperatorToken = (token: Type.Static<typeof OperatorTokenShape>): OperatorToken => token;
const asChange = (change: Type.Static<typeof ChangeShape>): Change => change;
const asProblem = (problem: RelayProblem): Problem => problem;

const PAGE = fileURLToPath(new URL("../../../hosts/relay/dashboard/page/", import.meta.url));
const FILES = ["", "style.css", "icon.svg", "page.js"];

describe("relay: the operators' page", () => {
  let started: StartedRelay;
  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());

  it("is not there before an operator token was made", async () => {
    for (const path of ["/dashboard", ...FILES.map((name) => `/dashboard/${name}`)]) {
      const { status, body } = await ask(started.url, "GET", path, undefined);
      assert.equal(status, 404, path);
      assert.equal(body.code, "ROUTE_UNKNOWN");
    }
  });

  it("comes with headers that leave a mistake in it without effect", async () => {
    operatorToken(started, "viewer");
    for (const name of FILES) {
      const answer = await fetch(`${started.url}/dashboard/${name}`);
      assert.equal(answer.status, 200, name);
      const policy = new Map(
        answer.headers
          .get("content-security-policy")!
          .split("; ")
          .map((directive) => [directive.split(" ")[0]!, directive.split(" ").slice(1).join(" ")]),
      );
      assert.equal(policy.get("default-src"), "'none'");
      for (const none of ["base-uri", "form-action", "frame-ancestors"]) assert.equal(policy.get(none), "'none'", none);
      for (const own of ["script-src", "style-src", "connect-src", "img-src"])
        assert.equal(policy.get(own), "'self'", own);
      assert.equal(policy.get("require-trusted-types-for"), "'script'");
      assert.equal(policy.get("trusted-types"), "'none'");
      assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
      assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
      assert.equal(answer.headers.get("set-cookie"), null);
    }
    const { status, headers } = await fetch(`${started.url}/dashboard`, { redirect: "manual" });
    assert.equal(status, 308);
    assert.equal(headers.get("location"), "dashboard/");
  });

  it("has no script or style in its markup, and nothing that makes markup of a string", () => {
    const html = readFileSync(`${PAGE}index.html`, "utf8");
    assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:/i);
    for (const file of readdirSync(PAGE).filter((name) => name.endsWith(".ts")))
      assert.doesNotMatch(
        readFileSync(PAGE + file, "utf8"),
        /innerHTML|outerHTML|insertAdjacent|document\.write|createContextualFragment|setHTML|DOMParser|\beval\b|new Function|srcdoc|localStorage|\.cookie/,
        file,
      );
  });

  it("is on the operators' own listener where there is one, and not where devices come", async () => {
    const apart = await StartedRelay.start({ operator: { port: 0 } });
    try {
      operatorToken(apart, "viewer");
      assert.equal((await fetch(`${apart.url}/dashboard/`)).status, 404);
      assert.equal((await fetch(`${apart.relay.operatorUrl}/dashboard/`)).status, 200);
    } finally {
      await apart.close();
    }
  });

  it("is shown what it expects: the API's own answers have its shapes", async () => {
    const device = await started.device();
    await started.settled();
    const token = operatorToken(started, "admin");
    const get = async (path: string) => (await ask(started.url, "GET", `/v1/operator/${path}`, token)).body;
    const shown = asDevice(await get(`devices/${device.kid}`));
    const { received, logged, ...rest } = shown;
    assert.deepEqual(logged?.seq, 0);
    assert.equal(received.seq, rest.seq);
    assert.equal(rest.heard_at_ms, received.at_ms);
    assert.equal(rest.mark_interval_s, 3600);
    assert.equal(rest.silent, false);
    assert.equal(rest.missing, 0);
    assert.equal(conditionOf(shown), "well");
    assert.equal(stepOf(shown), "logged");
    const enrolment = asEnrolmentToken((await get("enrolment-tokens")).tokens[0]);
    assert.equal(enrolment.used_by, device.kid);
    const self = asOperatorToken(await get("self"));
    assert.equal(self.role, "admin");
    const change = asChange((await get("audit")).changes[0]);
    assert.equal(change.about, self.id);
    const { code, status, todo } = asProblem(await get("devices/0011223344556677"));
    assert.deepEqual([code, status, typeof todo], ["DEVICE_UNKNOWN", 404, "string"]);
  });

  it("calls a device silent when the relay's watch does, and none for the time in which the relay was away", async () => {
    let nowMs = Date.UTC(2026, 0, 1);
    const watched = await StartedRelay.start({ nowMs: () => nowMs });
    try {
      const device = await watched.device({ genesis: { markIntervalS: 3600 } }, nowMs);
      const token = operatorToken(watched, "viewer", undefined, { nowMs, lifetimeMs: 86_400_000 * 30 });
      const silent = async (kid: string) =>
        (await ask(watched.url, "GET", `/v1/operator/devices/${kid}`, token)).body.silent as boolean;
      nowMs += 3_660_000;
      assert.equal(await silent(device.kid), false, "a mark may take a minute on its way");
      nowMs += 1000;
      assert.equal(await silent(device.kid), true);
      nowMs += 86_400_000;
      await watched.restart();
      assert.equal(await silent(device.kid), false);
      watched.operate((operator) => operator.revoke(device.identity.kid, { fromSeq: 1 }));
      nowMs += 86_400_000;
      assert.equal(await silent(device.kid), false, "nothing of it is to come");
    } finally {
      await watched.close();
    }
  });

  it("has the worst first, whatever the fleet", () => {
    const level = fc.record({ seq: fc.nat(9), id: fc.constant("00"), count: fc.nat(9), at_ms: fc.nat(99) });
    const devices = fc.array(
      fc.record(
        {
          kid: fc.stringMatching(/^[0-9a-f]{16}$/),
          did: fc.string(),
          print: fc.string(),
          tenant: fc.constantFrom("north", "south"),
          model: fc.string(),
          state: fc.constantFrom("active" as const, "forked" as const, "closed" as const),
          seq: fc.nat(9),
          enrolled_at_ms: fc.nat(99),
          heard_at_ms: fc.nat(3),
          mark_interval_s: fc.nat(99),
          silent: fc.boolean(),
          missing: fc.nat(1),
          held_since_ms: fc.nat(99),
          revoked_from: fc.nat(99),
          forks: fc.constant([]),
          decisions: fc.constant([]),
          received: level,
          logged: level,
        },
        {
          requiredKeys: [
            "kid",
            "did",
            "print",
            "tenant",
            "model",
            "state",
            "seq",
            "enrolled_at_ms",
            "heard_at_ms",
            "mark_interval_s",
            "silent",
            "missing",
            "forks",
            "decisions",
            "received",
          ],
        },
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(devices, (fleet: Device[]) => {
        const sorted = worstFirst(fleet);
        assert.deepEqual(new Set(sorted), new Set(fleet));
        for (const [i, device] of sorted.slice(1).entries()) {
          const before = sorted[i]!;
          const [a, b] = [before, device].map((each) => CONDITIONS.indexOf(conditionOf(each)));
          assert(a! < b! || (a === b && before.heard_at_ms <= device.heard_at_ms));
        }
        for (const device of fleet) {
          assert(matches(device, { text: device.kid.slice(3, 9).toUpperCase(), condition: conditionOf(device) }));
          assert(!matches(device, { text: "no such", condition: undefined }) || device.model.includes("no such"));
        }
      }),
    );
  });

  it("says times in the largest unit that is not 0", () => {
    for (const [ms, text] of [
      [-5, "0 s"],
      [999, "0 s"],
      [59_999, "59 s"],
      [60_000, "1 min"],
      [3_599_999, "59 min"],
      [86_399_999, "23 h"],
      [86_400_000 * 400, "400 d"],
    ] as const)
      assert.equal(duration(ms), text);
  });
});
