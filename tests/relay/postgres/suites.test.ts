import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { programs } from "./server.js";

/**
 * The relay's own tests over PostgreSQL in place of SQLite, in a process of their own. STORE=postgres runs any other so, too:
 * `STORE=postgres npx mocha tests/relay/slow.test.ts`.
 */
const SUITES = [
  "sync",
  "ingest",
  "gaps",
  "succession",
  "standing",
  "enrolment",
  "proofs",
  "rotation",
  "intake",
  "refused",
  "erase-acknowledged",
  "operator/tenants",
  "operator/credentials",
  "operator/routes",
  "operator/revocations",
  "webhooks/tenant",
];
const RUN_MAX_MS = 360_000;

(programs() ? describe : describe.skip)("relay: its tests over PostgreSQL", function () {
  this.timeout(RUN_MAX_MS + 10_000);

  it(`passes those of ${SUITES.join(", ")}`, async () => {
    const root = fileURLToPath(new URL("../../../", import.meta.url));
    const mocha = createRequire(import.meta.url).resolve("mocha/bin/mocha.js");
    const files = SUITES.map((suite) => `tests/relay/${suite}.test.ts`);
    const child = spawn(process.execPath, [mocha, "--exit", ...files], {
      cwd: root,
      env: { ...process.env, STORE: "postgres" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: RUN_MAX_MS,
    });
    let words = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => {
        words += data.toString();
      });
    const [status] = await once(child, "close");
    assert.equal(status, 0, words);
    assert.match(words, /\d{2,} passing/);
  });
});

if (!programs())
  console.warn("PostgreSQL is not installed: its tests are left out (Debian: apt-get install postgresql)");
