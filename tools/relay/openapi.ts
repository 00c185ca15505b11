import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { explain } from "tallystick/codes/codes";
import { Relay } from "../../hosts/relay/relay.js";

/** Prints what a relay tells of itself: of one that is made for it, in a folder that is gone afterwards. */
export async function printOpenapi(): Promise<number> {
  const dataDir = mkdtempSync(join(tmpdir(), "tallystick-openapi-"));
  try {
    const made = await Relay.initialise(dataDir, { origin: "localhost/openapi" });
    const relay = made.ok ? await Relay.open({ dataDir }) : made;
    if (!relay.ok) {
      console.error(explain(relay.failure));
      return 1;
    }
    const answer = await fetch(`${relay.value.url}/openapi.json`);
    console.log(JSON.stringify(await answer.json(), undefined, 2));
    await relay.value.close();
    return 0;
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}
