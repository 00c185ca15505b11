import { once } from "node:events";
import { createInterface } from "node:readline";
import { explain } from "tallystick/codes/codes";
import { Relay, type RelayOptions } from "../../../hosts/relay/relay.js";
import { VerifierPool } from "../../../hosts/relay/verify/pool.js";

/** One process of a relay over PostgreSQL, to be killed: its first line of input says what it is; then it says where it listens. */
const [line] = (await once(createInterface({ input: process.stdin }), "line")) as [string];
const options = JSON.parse(line) as Pick<RelayOptions, "dataDir" | "store" | "role">;
const pool = new VerifierPool({ threads: 1 });
const relay = await Relay.open({ batchIntervalMs: 20, pool, keyBudget: { burst: 1_000_000 }, ...options });
if (!relay.ok) {
  console.error(explain(relay.failure));
  process.exit(1);
}
console.log(relay.value.url);
