import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { LOGGED_TEXT_MAX } from "../../../hosts/relay/logger.js";
import { TALLYSTICK } from "../../tools/session.js";
import { temporaryFolder } from "../started.js";

const HOST = fileURLToPath(new URL("../../../hosts/relay/", import.meta.url));
const section = readFileSync(join(HOST, "README.md"), "utf8")
  .split(/^## /m)
  .find((part) => part.startsWith("What it logs"));
const documented = new Set([...(section ?? "").matchAll(/^\| `([^`]+)` \|/gm)].map(([, event]) => event!));
/** A call of the logger, to its end. */
const calls = /log(?:ger)?\s*\.(?:trace|debug|info|warn|error|fatal)\(([\s\S]*?)\)[;,]?\n/g;

describe("relay: logs", () => {
  it("name each event in a table, and there none that does not come", () => {
    const logged = new Set<string>();
    for (const entry of readdirSync(HOST, { recursive: true, withFileTypes: true })) {
      if (!entry.name.endsWith(".ts")) continue;
      const path = join(entry.parentPath, entry.name);
      for (const [call, words] of readFileSync(path, "utf8").matchAll(calls)) {
        const event = /(?:^|, |,\s+|\()"([^"]+)",?\s*$/.exec(words!)?.[1];
        assert(event, `${path}: the event is not a text of its own: ${call}`);
        logged.add(event);
      }
    }
    // Fastify says this with the text that it is given.
    logged.add("socket opened");
    assert.deepEqual([...logged].sort(), [...documented].sort());
  });

  it("are lines of JSON with one event each, whatever a stranger writes", async () => {
    const folder = temporaryFolder();
    const args = [TALLYSTICK, "relay", "--data", folder.path, "--init", "--json", "--log", "debug"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    const lines: string[] = [];
    const logged = once(
      createInterface({ input: child.stderr }).on("line", (line) => lines.push(line)),
      "close",
    );
    const [first] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const { url } = JSON.parse(first);
    await fetch(`${url}/%0a{"level":"fatal"}\u202e${"x".repeat(1000)}`);
    child.kill("SIGTERM");
    const [status] = await once(child, "exit");
    await logged;
    assert.equal(status, 0, lines.join("\n"));
    const events = lines.map((line) => JSON.parse(line));
    for (const { time, level, event } of events) {
      assert.match(time, /^\d{4}-\d\d-\d\dT/);
      assert(["debug", "info", "warn", "error", "fatal"].includes(level), level);
      assert(documented.has(event), event);
    }
    const request = events.find(({ event }) => event === "request");
    assert.equal(request.url.length, LOGGED_TEXT_MAX);
    assert.deepEqual([request.method, request.status], ["GET", 404]);
    assert.equal(events.at(-1).event, "stopped");
    folder.remove();
  });
});
