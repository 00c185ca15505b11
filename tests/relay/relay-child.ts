import { once } from "node:events";
import { createInterface } from "node:readline";
import { explain } from "tallystick/codes/codes";
import { Relay } from "../../hosts/relay/relay.js";

/** A relay as a process of its own, to be killed: opens the folder that its first line of input names, says where it listens. */
const [dataDir] = (await once(createInterface({ input: process.stdin }), "line")) as [string];
const relay = await Relay.open({ dataDir, batchIntervalMs: 5 });
if (!relay.ok) {
  console.error(explain(relay.failure));
  process.exit(1);
}
console.log(relay.value.url);
