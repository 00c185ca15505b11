import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { explain } from "tallystick/codes/codes";
import { Relay } from "../../hosts/relay/relay.js";
import { VerifierPool } from "../../hosts/relay/verify/pool.js";

/** A relay as a process of its own, to be killed: opens the folder that its first line of input names, says where it listens. */
const [dataDir] = (await once(createInterface({ input: process.stdin }), "line")) as [string];
// Where this was bundled the thread's own text is not beside it any more: then its program is.
const program = new URL("./thread.cjs", import.meta.url);
const pool = new VerifierPool({
  threads: 1,
  ...(existsSync(program) && { program: () => readFileSync(program, "utf8") }),
});
const relay = await Relay.open({ dataDir, batchIntervalMs: 5, pool });
if (!relay.ok) {
  console.error(explain(relay.failure));
  process.exit(1);
}
console.log(relay.value.url);
