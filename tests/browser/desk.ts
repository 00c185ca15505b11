import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import { StartedRelay } from "../relay/started.js";
import { type Observed, observe, startBrowser } from "./browser.js";

/** A relay, a browser, and a page of the operators' for each test: what one has signed in with, the next has not. */
export interface Desk {
  readonly started: StartedRelay;
  readonly page: Page;
  readonly seen: Observed;
  /** `place`: what is behind the address, from # on. */
  signIn(token: string, place?: string): Promise<void>;
  /** As when somebody comes back to the tab: it asks at once. */
  look(): Promise<void>;
  texts(selector: string): Promise<string[]>;
}

/** Call within `describe`: it is there from the first of its tests on. Where there is no browser they are skipped. */
export function atDesk(): Desk {
  let browser: Browser | undefined;
  let started: StartedRelay | undefined;
  let page: Page;
  let seen: Observed;

  before(async function () {
    browser = await startBrowser();
    if (!browser) return this.skip();
    started = await StartedRelay.start();
  });
  after(async () => {
    await browser?.close();
    await started?.close();
  });
  beforeEach(async () => {
    page = await (await browser!.newContext()).newPage();
    seen = observe(page);
  });
  afterEach(async () => {
    assert.deepEqual(seen.dialogs, []);
    const elsewhere = seen.requests.filter((url) => !url.startsWith(`${started!.url}/`));
    assert.deepEqual(elsewhere, [], "asks nobody else for anything");
    await page.context().close();
  });

  return {
    get started() {
      return started!;
    },
    get page() {
      return page;
    },
    get seen() {
      return seen;
    },
    async signIn(token, place = "") {
      await page.goto(`${started!.url}/dashboard/${place}`);
      await page.fill("input[name=token]", token);
      await page.click("button[type=submit]");
      await page.waitForSelector("nav");
    },
    async look() {
      await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    },
    texts: (selector) => page.locator(selector).allTextContents(),
  };
}
