import { userInfo } from "node:os";
import { toHex } from "tallystick/bytes/bytes";
import { visible } from "tallystick/bytes/visible";
import { explain, type Failure } from "tallystick/codes/codes";
import { eraseInFolder, listErasures } from "../../hosts/relay/erase-folder.js";
import { storeOfEnvironment } from "../../hosts/relay/store/open.js";
import { kidOfText, noKid } from "../device/device.js";
import type { EraseArguments } from "./command.js";

/** What `tallystick erase` and `tallystick erasures` do; each answers with the exit status. */

const EXIT = { done: 0, refused: 1, waits: 3 } as const;

export async function erase(dataDir: string, options: EraseArguments): Promise<number> {
  const { device, from, to, reason, by = userInfo().username, yes, json } = options;
  const kid = kidOfText(device);
  if (!kid) return refuse(noKid(device), json);
  const place = storeOfEnvironment(process.env);
  if (!place.ok) return refuse(place.failure, json);
  const erased = await eraseInFolder(dataDir, { kid, from, to, reason, by }, { decided: yes === true, ...place.value });
  if (!erased.ok) return refuse(erased.failure, json);
  const { number, records, already, bundles, done, running } = erased.value;
  if (json) console.log(JSON.stringify({ erasure: number ?? null, records, already, bundles, done }));
  else {
    const [bodies, files] = [count(records, "record"), count(bundles, "bundle")];
    const before = already > 0 ? `; ${count(already, "record")} erased already` : "";
    if (!yes)
      console.log(`would erase the bytes of ${bodies}, and publish ${files} no more${before}; with --yes it does`);
    else if (number === undefined) console.log(`nothing to erase${before}`);
    else console.log(`erasure ${number}: ${bodies}, ${files} published no more${before}`);
    if (yes && number !== undefined)
      console.log("Backups and mirrors made before still have the bytes: remove them, and make another backup.");
    if (yes && !done)
      console.log(`It is decided, and ${running ? "the running relay" : "the next start"} carries it out.`);
  }
  return !yes || done ? EXIT.done : EXIT.waits;
}

export async function list(dataDir: string, asJson: boolean): Promise<number> {
  const place = storeOfEnvironment(process.env);
  const erasures = place.ok ? await listErasures(dataDir, place.value.store) : place;
  if (!erasures.ok) return refuse(erasures.failure, asJson);
  if (erasures.value.length === 0 && !asJson) console.log("nothing was erased");
  for (const { number, kid, from, to, records, reason, by, askedAtMs, doneAtMs } of erasures.value) {
    const [device, asked] = [toHex(kid), new Date(askedAtMs).toISOString()];
    if (asJson) {
      const times = { asked_at_ms: askedAtMs, done_at_ms: doneAtMs ?? null };
      console.log(JSON.stringify({ erasure: number, kid: device, from, to, records, reason, by, ...times }));
    } else {
      const state = doneAtMs === undefined ? ", not carried out yet" : "";
      console.log(
        `${number}  ${asked}  ${device} seq ${from} to ${to}, ${count(records, "record")}, by ${visible(by)}: ${visible(reason)}${state}`,
      );
    }
  }
  return EXIT.done;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function refuse(failure: Failure, asJson: boolean | undefined): number {
  if (asJson) console.log(JSON.stringify({ failure }));
  else console.error(explain(failure));
  return EXIT.refused;
}
