import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { administer } from "../../hosts/relay/enrol.js";
import { type FixtureDevice, readingPayload } from "../fixtures/device.js";
import { ask, idOf, makeTenant, operatorToken } from "../relay/operator/operators.js";
import { must, StartedRelay } from "../relay/started.js";
import { type Observed, observe, startBrowser } from "./browser.js";

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

/** Something to wait for until it is opened. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** The operators' page in a real browser, with a real relay behind it. */
describe("relay: the operators' page in a browser", function () {
  this.timeout(120_000);
  let browser: Browser;
  let started: StartedRelay;
  let page: Page;
  let seen: Observed;

  before(async function () {
    const found = await startBrowser();
    if (!found) return this.skip();
    browser = found;
    started = await StartedRelay.start();
  });
  after(async () => {
    await browser?.close();
    await started?.close();
  });

  beforeEach(async () => {
    // A context of its own: what one test has signed in with, the next has not.
    page = await (await browser.newContext()).newPage();
    seen = observe(page);
  });
  afterEach(async () => {
    assert.deepEqual(seen.dialogs, []);
    const elsewhere = seen.requests.filter((url) => !url.startsWith(`${started.url}/`));
    assert.deepEqual(elsewhere, [], "asks nobody else for anything");
    await page.context().close();
  });

  async function signIn(token: string, place = ""): Promise<void> {
    await page.goto(`${started.url}/dashboard/${place}`);
    await page.fill("input[name=token]", token);
    await page.click("button[type=submit]");
    await page.waitForSelector("nav");
  }

  /** As when somebody comes back to the tab: it asks at once. */
  async function look(): Promise<void> {
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  }

  async function texts(selector: string): Promise<string[]> {
    return page.locator(selector).allTextContents();
  }

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
      await page.waitForFunction("document.querySelectorAll('tbody tr').length === 1");
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
        await page.waitForFunction("!document.querySelector('a.kid.before')");
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

  describe("where something is in the way", () => {
    /** Every answer of the operator API whose address has `part`, until it is taken back. */
    async function answering(part: string, status: number, body: string): Promise<() => Promise<void>> {
      const matcher = (url: URL) => url.pathname.startsWith("/v1/operator/") && url.href.includes(part);
      await page.route(matcher, (route) => route.fulfill({ status, contentType: "application/json", body }));
      return () => page.unroute(matcher);
    }

    it("takes no other server's answers for the relay's, says so, and goes on after them", async () => {
      await started.device();
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      for (const [status, body] of [
        [200, "{}"],
        [200, "null"],
        [200, '{"devices":[],"next":"00"}'],
        [502, '{"error":"bad gateway"}'],
        [502, "null"],
        [502, "<html>"],
        [401, '{"message":"sso"}'],
      ] as const) {
        const back = await answering("/devices", status, body);
        await look();
        await page.waitForSelector("main.stale");
        assert.match((await page.textContent("#status"))!, /^SERVER_UNREACHABLE: .*; /, body);
        assert((await page.locator("tbody tr").count()) > 0);
        await back();
        await look();
        await page.waitForSelector("main:not(.stale)");
        assert.equal(await page.textContent("#status"), "");
      }
    });

    it("keeps who was signed in while the relay is away, and shows the page when it is back", async () => {
      await page.clock.install();
      await signIn(operatorToken(started, "viewer"));
      const back = await answering("/self", 502, "{}");
      await page.reload();
      await page.waitForSelector("#status:not(:empty)");
      assert.equal(await page.locator("input[name=token]").count(), 0);
      await back();
      await page.clock.fastForward(5000);
      await page.waitForSelector("tbody tr");
    });

    it("asks nothing while it is hidden, and at once when it is seen again", async () => {
      await page.clock.install();
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      const asked = () => seen.requests.filter((url) => url.includes("/devices?")).length;
      await page.evaluate(
        "Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })",
      );
      await look();
      const before = asked();
      await page.clock.fastForward(60_000);
      assert.equal(asked(), before);
      await page.evaluate("delete document.visibilityState");
      const answered = page.waitForResponse((response) => response.url().includes("/devices?"));
      await look();
      await answered;
    });

    it("puts a look off for what is marked, but not for ever", async () => {
      await page.clock.install();
      await signIn(operatorToken(started, "viewer"));
      await page.waitForSelector("tbody tr");
      await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody tr a.kid'))");
      const answered = page.waitForResponse((response) => response.url().includes("/devices?"));
      await page.clock.runFor(80_000);
      await answered;
    });

    it("shows no older answer over what was decided", async () => {
      const device = await started.device();
      await signIn(operatorToken(started, "operator"), `#/devices/${device.kid}`);
      await page.waitForSelector("h2 .badge.well");
      const held = gate();
      const slow = gate();
      await page.route(
        (url) => url.pathname.endsWith(device.kid),
        async (route) => {
          const answer = await route.fetch();
          slow.open();
          await held.opened;
          await route.fulfill({ response: answer });
        },
        { times: 1 },
      );
      await look();
      await slow.opened;
      await page.click("text=Hold back");
      await page.click("dialog .yes");
      await page.waitForSelector("h2 .badge.held");
      const answered = page.waitForResponse((response) => response.url().endsWith(device.kid));
      held.open();
      await (await answered).finished();
      await page.waitForFunction("document.querySelector('.as-of').textContent !== ''");
      assert.deepEqual(await texts("h2 .badge"), ["held"]);
    });

    it("lets nobody leave what is under way, and closes a question whose page was left", async () => {
      const device = await started.device();
      await signIn(operatorToken(started, "operator"), `#/devices/${device.kid}`);
      const go = gate();
      await page.route(
        (url) => url.pathname.endsWith("/decision"),
        async (route) => {
          await go.opened;
          await route.continue();
        },
      );
      await page.click("text=Hold back");
      await page.click("dialog .yes");
      assert(await page.locator("dialog button:has-text('Leave it')").isDisabled());
      await page.keyboard.press("Escape");
      assert.equal(await page.locator("dialog[open]").count(), 1);
      go.open();
      await page.waitForSelector("h2 .badge.held");
      await page.click("text=Let it go on");
      await page.goto(`${started.url}/dashboard/#/devices`);
      await page.waitForSelector("tbody");
      assert.equal(await page.locator("dialog").count(), 0);
    });

    it("makes one enrolment token of a double click, and names its tenant", async () => {
      await signIn(operatorToken(started, "operator"), "#/enrolment");
      await page.waitForSelector("tbody");
      const rows = await page.locator("tbody tr").count();
      await page.dblclick("text=Make one");
      await page.waitForSelector(".made code");
      assert.match((await page.textContent(".made"))!, /^For one device of the tenant default, once, until /);
      await page.waitForFunction(`document.querySelectorAll("tbody tr").length > ${rows}`);
      assert.equal(await page.locator("tbody tr").count(), rows + 1);
    });

    it("asks about the tokens that a revoked one had made", async () => {
      const stolen = operatorToken(started, "admin");
      const { body } = await ask(started.url, "POST", "/v1/operator/tokens", stolen, {
        role: "viewer",
        label: "child",
      });
      await signIn(operatorToken(started, "admin"), "#/tokens");
      await page.click(`button[aria-label="Revoke ${idOf(stolen)}"]`);
      await page.click("dialog .yes");
      await page.waitForSelector(`dialog:has-text("${body.id}")`);
      await page.click("text=Revoke them, too");
      await page.waitForSelector(`tr:has-text("${body.id}"):has-text("revoked")`);
      assert.equal((await ask(started.url, "GET", "/v1/operator/self", body.token)).status, 401);
    });

    it("brings older changes once, and says where it cannot", async () => {
      const token = operatorToken(started, "admin");
      const { relay } = started;
      for (let i = 0; i < 120; i++) await ask(relay.url, "POST", "/v1/operator/enrolment-tokens", token, {});
      await signIn(token, "#/audit");
      await page.waitForSelector("tbody tr:nth-child(100)");
      const back = await answering("after=", 502, "{}");
      await page.click("text=Older");
      await page.waitForSelector("main .problem:not(:empty)");
      await back();
      await page.dblclick("text=Older");
      await page.waitForSelector("tbody tr:nth-child(101)");
      await page.waitForFunction("!document.querySelector('main > section > button').disabled");
      const rows = await texts("tbody tr td:nth-child(4) code");
      assert(rows.length <= 200, String(rows.length));
    });
  });
});
