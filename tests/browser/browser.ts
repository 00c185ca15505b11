import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

/** A real browser: the one that the system has. */

const PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The one that CHROMIUM names, or the system's. Undefined where there is none: the test says so and is skipped. */
export async function startBrowser(): Promise<Browser | undefined> {
  const executablePath = process.env["CHROMIUM"] ?? PROGRAMS.find((path) => existsSync(path));
  if (!executablePath) {
    console.log("      skipped: chromium is not here");
    return undefined;
  }
  // Its sandbox does not start as root, which CI is; what it loads here is our own.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath, args });
}

/** What went on behind a page, that it should not. */
export interface Observed {
  /** Uncaught errors, and what the console calls an error: refused by policy, too. */
  readonly errors: string[];
  readonly dialogs: string[];
  /** Addresses that were asked for. */
  readonly requests: string[];
}

export function observe(page: Page): Observed {
  const observed: Observed = { errors: [], dialogs: [], requests: [] };
  page.on("pageerror", (error) => observed.errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") observed.errors.push(message.text());
  });
  page.on("dialog", (dialog) => {
    observed.dialogs.push(dialog.message());
    void dialog.dismiss();
  });
  page.on("request", (request) => observed.requests.push(request.url()));
  return observed;
}
