import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";
import { fail } from "tallystick/codes/codes";
import { Refused } from "../problem.js";
import { pageProgram } from "./program.js";

/**
 * The operators' page: files that are the same for everybody, and know nothing. What is shown the page itself asks of the
 * operator API, on the word of the token that is typed into it.
 *
 * What a page shows comes from strangers: a device names its own model, a revocation has a reason. So the page makes text
 * nodes only, and the headers here see to it that a mistake in that stays without effect: no script but the page's own, no
 * markup out of strings (Trusted Types), nothing from or to anywhere else, no frame around it, no form that is sent.
 */

export const DASHBOARD_PATH = "/dashboard/";

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  // Another version of the relay has another page.
  "cache-control": "no-cache",
};

interface PageFile {
  readonly type: string;
  readonly read: () => Promise<string>;
}

const FILES: Readonly<Record<string, PageFile>> = {
  "": { type: "text/html; charset=utf-8", read: once(() => textOf("index.html")) },
  "style.css": { type: "text/css; charset=utf-8", read: once(() => textOf("style.css")) },
  "icon.svg": { type: "image/svg+xml", read: once(() => textOf("icon.svg")) },
  "page.js": { type: "text/javascript; charset=utf-8", read: once(pageProgram) },
};

export interface DashboardOptions {
  /** As long as nobody has made an operator token there is nothing here, as there is no operator API. */
  readonly isOpen: () => boolean;
}

export function dashboardRoutes(app: FastifyInstance, { isOpen }: DashboardOptions): void {
  const onRequest = async (): Promise<void> => {
    if (!isOpen())
      throw new Refused(fail("ROUTE_UNKNOWN", "no operator token was made here; tallystick operator-token create"));
  };
  for (const [name, { type, read }] of Object.entries(FILES))
    app.get(`${DASHBOARD_PATH}${name}`, { schema: { hide: true }, onRequest }, async (_request, reply) => {
      return reply
        .headers(HEADERS)
        .type(type)
        .send(await read());
    });
  app.get(DASHBOARD_PATH.slice(0, -1), { schema: { hide: true }, onRequest }, (_request, reply) =>
    // The files' names are relative, so that a proxy may have the relay under a path of its own.
    reply.headers(HEADERS).redirect("dashboard/", 308),
  );
}

/** Made when it is first asked for, and then the same; what failed is tried again. */
function once(make: () => Promise<string>): () => Promise<string> {
  let made: Promise<string> | undefined;
  return () => {
    made ??= make().catch((error) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

function textOf(name: string): Promise<string> {
  return readFile(new URL(`./page/${name}`, import.meta.url), "utf8");
}
