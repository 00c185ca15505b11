import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { ask, idOf, operatorToken } from "../relay/operator/operators.js";
import type { StartedRelay } from "../relay/started.js";
import type { Observed } from "./browser.js";
import { atDesk } from "./desk.js";

/** Something to wait for until it is opened. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What comes between an operator and his relay, or between two things that he does. */
describe("relay: the operators' page where something is in the way", function () {
  this.timeout(120_000);
  const desk = atDesk();
  const { signIn, look, texts } = desk;
  let page: Page;
  let seen: Observed;
  let started: StartedRelay;

  before(async () => {
    ({ started } = desk);
    await started.device();
  });
  beforeEach(() => {
    ({ page, seen } = desk);
  });

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
    await page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })");
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
    await page.waitForSelector(".as-of:not(:empty)");
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

  it("says in a question, too, that an answer is no relay's, and lets it be left", async () => {
    const device = await started.device();
    await signIn(operatorToken(started, "operator"), `#/devices/${device.kid}`);
    await page.click("text=Hold back");
    const back = await answering("/decision", 200, "{}");
    await page.click("dialog .yes");
    await page.waitForSelector("dialog .problem:not(:empty)");
    assert.match((await page.textContent("dialog .problem"))!, /^SERVER_UNREACHABLE: /);
    await back();
    await page.click("text=Leave it");
    assert.equal(await page.locator("dialog").count(), 0);
    await page.goto(`${started.url}/dashboard/#/enrolment`);
    await page.waitForSelector("tbody");
    const again = await answering("enrolment-tokens", 200, "{}");
    await page.click("text=Make one");
    await page.waitForSelector("main .problem:not(:empty)");
    assert(await page.locator("text=Make one").isEnabled());
    await again();
  });

  it("makes one enrolment token of a double click, and names its tenant", async () => {
    await signIn(operatorToken(started, "operator"), "#/enrolment");
    await page.waitForSelector("tbody");
    const rows = await page.locator("tbody tr").count();
    await page.dblclick("text=Make one");
    await page.waitForSelector(".made code");
    assert.match((await page.textContent(".made"))!, /^For one device of the tenant default, once, until /);
    await page.locator("tbody tr").nth(rows).waitFor();
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
    await page.waitForSelector("main > section > button:enabled", { state: "attached" });
    const rows = await texts("tbody tr td:nth-child(4) code");
    assert(rows.length <= 200, String(rows.length));
  });
});
