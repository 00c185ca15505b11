import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { administer } from "../../hosts/relay/enrol.js";
import { type FixtureDevice, readingPayload } from "../fixtures/device.js";
import { ask, idOf, makeTenant, operatorToken } from "../relay/operator/operators.js";
import { must, type StartedRelay } from "../relay/started.js";
import type { Observed } from "./browser.js";
import { atDesk } from "./desk.js";

/** Texts that have been scripts somewhere. Each calls `harm`, were it one. A device's model has at most 64 bytes. */
const HOSTILE = [
  "<img src=x onerror=harm()>",
  "<script>harm()</script>",
  '"><svg onload=harm()>',
  "<iframe srcdoc='<script>parent.harm()</script>'>",
  "javascript:harm()",
  "' autofocus onfocus='harm()",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as a template has it
  "${harm()}{{harm()}}<%=harm()%>",
  "<style>@import 'http://127.0.0.1:9/'</style>",
  "<a href=//127.0.0.1:9/>x</a><base href=//127.0.0.1:9/>",
  "</title></td></table><h1>all is well</h1>",
  "&lt;img src=x onerror=harm()&gt;",
  "__proto__",
];
/** A revocation's has at most 64 bytes, too. */
const REASON = HOSTILE[4]! + HOSTILE[0]!;
/** What turns the order of what is read, or hides: shown by number. */
const UNSEEN = { label: "roof\u202elive\u2066\u200b", shown: "roof⟨U+202E⟩live⟨U+2066⟩⟨U+200B⟩" };

/** The operators' page in a real browser, with a real relay behind it. */
describe("relay: the operators' page in a browser", function () {
  this.timeout(120_000);
  const desk = atDesk();
  const { signIn, look, texts } = desk;
  let page: Page;
  let seen: Observed;
  let started: StartedRelay;

  before(() => {
    started = desk.started;
  });
  beforeEach(() => {
    ({ page, seen } = desk);
  });

  async function forked(): Promise<FixtureDevice> {
    const device = await started.device({ genesis: { model: "forked one" } });
    device.appendReadings(2);
    device.read(await device.send(started.url, 1), started.key);
    const id = recordId(relayCrypto.sha256, device.chain[0]!);
    await device.sendBytes(started.url, device.make(Kind.readings, readingPayload(9), { ...device.head, seq: 0, id }));
    return device;
  }

  describe("hostile labels", () => {
    const devices: FixtureDevice[] = [];
    let token: string;
    let label: string;

    before(async () => {
      for (const model of [...HOSTILE, UNSEEN.label]) devices.push(await started.device({ genesis: { model } }));
      const { identity } = devices[0]!;
      started.operate((operator) => operator.revoke(identity.kid, { fromSeq: 7, reason: REASON }));
      label = HOSTILE[0]!;
      for (const each of [...HOSTILE, UNSEEN.label])
        must(
          administer(started.folder, (on) => on.makeOperatorToken({ role: "viewer", label: each }), {
            ...started.where,
          }),
        );
      token = must(
        administer(started.folder, (on) => on.makeOperatorToken({ role: "admin", label }), { ...started.where }),
      ).token;
    });

    beforeEach(async () => {
      await page.addInitScript("globalThis.harmed = 0; globalThis.harm = () => harmed++;");
    });
    afterEach(async () => {
      assert.equal(await page.evaluate("harmed"), 0, "a label ran");
      assert.deepEqual(seen.errors, []);
      assert.equal(await page.locator("img, iframe, base, main script, main style, main svg, main h1").count(), 0);
    });

    it("of devices are text, each as it was written", async () => {
      await signIn(token);
      await page.waitForSelector("tbody tr");
      const models = await texts("tbody td:nth-child(3)");
      assert.deepEqual(new Set(models), new Set([...HOSTILE, UNSEEN.shown]));
      for (const [i, device] of devices.entries()) {
        await page.goto(`${started.url}/dashboard/#/devices/${device.kid}`);
        await page.waitForSelector(`h2:has-text("${device.kid}")`);
        assert((await texts("dd")).includes([...HOSTILE, UNSEEN.shown][i]!));
      }
    });

    it("of operator tokens, in the list, in a question and above it", async () => {
      await signIn(token, "#/tokens");
      await page.waitForSelector("tbody tr");
      const labels = await texts("tbody td:nth-child(1)");
      for (const each of [...HOSTILE, UNSEEN.shown]) assert(labels.includes(each), each);
      assert((await page.locator(".self").textContent())!.includes(label));
      const row = page.locator("tbody tr", { hasText: "⟨U+202E⟩" });
      await row.getByText("Revoke").click();
      assert.match((await page.locator("dialog").textContent())!, /“roof⟨U\+202E⟩live/);
      await page.click("text=Leave it");
    });

    it("of reasons, in what was changed", async () => {
      await signIn(token, "#/audit");
      await page.waitForSelector("tbody tr");
      const details = await texts("tbody td:nth-child(6)");
      assert(details.some((text) => text.includes(REASON)));
    });

    it("in the address, as filter, kid and place", async () => {
      await signIn(token);
      for (const each of HOSTILE) {
        for (const hash of [
          `devices?q=${encodeURIComponent(each)}&state=${encodeURIComponent(each)}`,
          `devices/${each}`,
          each,
        ]) {
          await page.evaluate(`location.hash = ${JSON.stringify(`#/${hash}`)}`);
          await page.waitForSelector("main section");
        }
      }
      const asked = seen.requests.filter((url) => /devices\/[^?]/.test(new URL(url).pathname));
      assert.deepEqual(asked, [], "what is no kid is no part of an address");
    });

    it("and were one a script, the browser would not run it", async () => {
      await signIn(token);
      const tried = await page.evaluate<string[]>(`[
        () => { document.getElementById("main").innerHTML = "<img src=x onerror=harm()>"; },
        () => document.createElement("button").setAttribute("onclick", "harm()"),
        () => document.body.append(Object.assign(document.createElement("script"), { text: "harm()" })),
        () => document.body.append(document.createRange().createContextualFragment("<img src=x onerror=harm()>")),
      ].map((attempt) => { try { attempt(); return "taken"; } catch ({ name }) { return name; } })`);
      assert.deepEqual(tried, ["TypeError", "TypeError", "TypeError", "TypeError"]);
      // A script's text as a node is no string: that is for the policy about scripts.
      await page.evaluate(`{
        const script = document.createElement("script");
        script.append("harm()");
        document.body.append(script);
        script.remove();
      }`);
      assert(seen.errors.length > 0, "the browser says what it did not run");
      seen.errors.length = 0;
    });
  });

  describe("signing in", () => {
    before(() => operatorToken(started, "viewer"));

    it("says what is wrong with a token that does not count, and keeps nothing of it", async () => {
      await page.goto(`${started.url}/dashboard/`);
      await page.fill("input[name=token]", `tsop_${"0".repeat(16)}_${"0".repeat(64)}`);
      await page.click("button[type=submit]");
      await page.waitForSelector("#status:not(:empty)");
      assert.match((await page.textContent("#status"))!, /^OPERATOR_UNKNOWN: /);
      assert.equal(await page.evaluate("sessionStorage.length + localStorage.length"), 0);
    });

    it("stays through a reload, is in no address, and ends with signing out", async () => {
      const token = operatorToken(started, "viewer");
      await signIn(token);
      await page.reload();
      await page.waitForSelector("nav");
      assert(seen.requests.every((url) => !url.includes(token.slice(5))));
      assert.equal(await page.evaluate("localStorage.length"), 0);
      await page.click("text=Sign out");
      await page.waitForSelector("input[name=token]");
      assert.equal(await page.evaluate("sessionStorage.length"), 0);
    });

    it("ends when the token is revoked while somebody looks, and says so", async () => {
      const token = operatorToken(started, "viewer");
      await signIn(token);
      must(administer(started.folder, (on) => on.revokeOperatorToken(idOf(token)), { ...started.where }));
      await look();
      await page.waitForSelector("input[name=token]");
      assert.match((await page.textContent("#status"))!, /^OPERATOR_TOKEN_ENDED: /);
    });

    it("shows a viewer what there is, and nothing to do", async () => {
      const device = await forked();
      await signIn(operatorToken(started, "viewer"));
      assert.deepEqual(await texts("nav a"), ["Devices", "Enrolment tokens"]);
      await page.goto(`${started.url}/dashboard/#/devices/${device.kid}`);
      await page.waitForSelector("dl");
      assert.deepEqual(await texts("main button"), []);
      await page.goto(`${started.url}/dashboard/#/audit`);
      await page.waitForSelector("tbody");
      assert.deepEqual(await texts("nav a[aria-current]"), ["Devices"], "what is not for him leads to the first place");
    });

    it("shows an operator of one tenant its devices only", async () => {
      makeTenant(started, "apart");
      await signIn(operatorToken(started, "operator", "apart"));
      await page.waitForSelector(".empty");
      assert.equal(await page.locator("tbody tr").count(), 0);
    });
  });

  describe("the fleet", () => {
    it("has the worst first, and lets a fork's device go on: the relay then takes its records", async () => {
      const device = await forked();
      const token = operatorToken(started, "operator");
      await signIn(token);
      await page.waitForSelector("tbody tr");
      assert.equal((await texts("tbody tr:first-child .badge"))[0], "forked");
      await page.fill("input[type=search]", device.kid.toUpperCase());
      await page.waitForSelector("tbody tr:only-child");
      assert.match(page.url(), new RegExp(`#/devices\\?q=${device.kid.toUpperCase()}$`));
      await page.click("a.kid");
      await page.click("text=Let it go on");
      await page.click("dialog .yes");
      await page.waitForSelector("button:has-text('Hold back')");
      assert.equal(await page.locator("dialog").count(), 0);
      device.appendReading(1);
      device.read(await device.send(started.url, device.chain.length - 1), started.key);
      const { body } = await ask(started.url, "GET", `/v1/operator/devices/${device.kid}`, token);
      assert.equal(body.decisions.at(-1).what, "continue");
      await page.click("text=Hold back");
      await page.click("dialog .yes");
      await page.waitForSelector("h2 .badge.forked");
    });

    it("tells ages by the relay's clock, and of when what is shown is", async () => {
      await started.device();
      await page.clock.setFixedTime(Date.now() + 86_400_000 * 3);
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      for (const text of await texts("tbody time")) assert.match(text, /^\d+ (s|min) ago$/);
      assert.match((await page.textContent(".as-of"))!, /^as of \d\d:\d\d:\d\d UTC$/);
    });

    it("leaves who looks where he is when it asks again: at his link, with what he has marked", async () => {
      await page.clock.install();
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      const asked = () => seen.requests.filter((url) => url.includes("/devices?")).length;
      /** As much time as passes until it asks again; resolves once it has drawn. */
      const later = async () => {
        const answered = page.waitForResponse((response) => response.url().includes("/devices?"));
        await page.clock.fastForward(20_000);
        await answered;
        await page.waitForSelector("a.kid.before", { state: "detached" });
      };
      await page.focus("tbody tr:nth-child(2) a.kid");
      const kid = await page.evaluate("document.activeElement.textContent");
      await page.evaluate("for (const each of document.querySelectorAll('a.kid')) each.classList.add('before')");
      await later();
      assert.equal(await page.evaluate("document.activeElement.textContent"), kid);
      await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody tr a.kid'))");
      const before = asked();
      await page.clock.fastForward(20_000);
      assert.equal(asked(), before, "rows that are drawn anew would take the mark away");
      await page.evaluate("getSelection().removeAllRanges()");
      await later();
      assert.equal(asked(), before + 1);
    });

    it("revokes where genesis names no owner, and says why not where it is not taken", async () => {
      const device = await started.device();
      await signIn(operatorToken(started, "operator"), `#/devices/${device.kid}`);
      await page.click("text=Revoke");
      await page.fill("input[name=reason]", "é".repeat(64));
      await page.click("dialog .yes");
      await page.waitForSelector("dialog .problem:not(:empty)");
      assert.match((await page.textContent("dialog .problem"))!, /^REQUEST_BODY_INVALID: .*bytes/);
      await page.fill("input[name=reason]", "lost in the move");
      await page.click("dialog .yes");
      await page.waitForSelector("h2 .badge.revoked");
      assert.deepEqual(await texts("main button"), ["Hold back"]);
    });

    it("makes an enrolment token that lets a device in, and withdraws another", async () => {
      await signIn(operatorToken(started, "operator"), "#/enrolment");
      await page.click("text=Make one");
      const made = (await page.textContent(".made code"))!;
      const { FixtureDevice: Device } = await import("../fixtures/device.js");
      const device = new Device({ crypto: relayCrypto });
      const { origin } = started.relay.identity;
      device.read(await device.enrol(started.url, origin, made), started.key);
      await page.click("text=Make one");
      await page.waitForSelector(`.made code:not(:text-is("${made}"))`);
      await page.locator("tbody tr", { hasText: "free" }).first().getByText("Withdraw").click();
      await page.click("dialog .yes");
      await page.waitForSelector("tbody tr:has-text('ended')");
      assert.equal(await page.locator(`a.kid:text-is("${device.kid}")`).count(), 1);
    });

    it("keeps what it has shown while the relay is away, says so, and goes on when it is back", async () => {
      const { port } = new URL(started.url);
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      await started.relay.close();
      await look();
      await page.waitForSelector("#status:not(:empty)");
      assert.match((await page.textContent("#status"))!, /^SERVER_UNREACHABLE: /);
      assert((await page.locator("tbody tr").count()) > 0);
      await started.reopen({ port: Number(port) });
      await look();
      await page.waitForSelector("#status:empty", { state: "attached" });
      assert.equal(await page.locator("main.stale").count(), 0);
    });
  });
});
