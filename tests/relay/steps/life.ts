import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backUp } from "../../../hosts/relay/backup.js";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { FixtureDevice } from "../../fixtures/device.js";
import { must, ORIGIN } from "../started.js";

/**
 * A relay's life, the same each time: made, a device enrolled, records taken in and logged across a full tile, scrubbed,
 * backed up, started again. `mark` hears of each promise once it is given.
 */
export interface Promised {
  /** The relay was made. */
  readonly initialised?: true;
  /** Highest position that was acknowledged as received, and as logged. */
  readonly received?: number;
  readonly logged?: number;
  /** A checkpoint that somebody may have seen. */
  readonly checkpoint?: string;
  /** A backup that is complete. */
  readonly backup?: string;
}

export const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;
/** Of one record to the next send, so that the second crosses the end of a tile. */
export const SENDS = [250, 8] as const;
/** After the restart. */
export const LATE = 3;

export function lifeDevice(): FixtureDevice {
  const device = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(3) });
  device.appendReadings(SENDS[0] + SENDS[1] + LATE);
  return device;
}

/** Throws, or ends early, where a step fails: what was promised until then was marked. */
export async function live(root: string, mark: (promised: Promised) => void): Promise<void> {
  const dataDir = join(root, "relay");
  const device = lifeDevice();
  const entropy = { bytes: (length: number) => new Uint8Array(length).fill(5) };
  must(await Relay.initialise(dataDir, { origin: ORIGIN, entropy }));
  mark({ initialised: true });
  let nowMs = START_MS;
  const open = async () =>
    must(await Relay.open({ dataDir, batchIntervalMs: 3_600_000, nowMs: () => nowMs, scrubPeriodMs: DAY_MS }));
  let relay = await open();
  try {
    const key = Buffer.from(relay.identity.publicKey, "hex");
    const acknowledged = (answer: Parameters<FixtureDevice["read"]>[0]) => {
      const { received, logged, checkpoint } = device.read(answer, key);
      mark({ received: received!.seq, ...(logged && { logged: logged.seq }), checkpoint });
    };
    const sequence = async () => {
      must(await relay.log.sequence());
      mark({ checkpoint: Buffer.from(relay.log.head.checkpoint).toString() });
    };
    const { token } = must(makeEnrolmentToken(dataDir, { nowMs }));
    acknowledged(await device.enrol(relay.url, ORIGIN, token));
    let next = 1;
    for (const count of SENDS) {
      acknowledged(await device.send(relay.url, next, next + count - 1));
      next += count;
      await sequence();
      acknowledged(await device.askHead(relay.url));
    }
    nowMs += DAY_MS;
    await relay.scrub.round();
    mark({ backup: must(await backUp(dataDir, join(root, "backups"), { nowMs: () => nowMs })).name });
    await relay.close();
    relay = await open();
    acknowledged(await device.send(relay.url, next));
    await sequence();
    acknowledged(await device.askHead(relay.url));
  } finally {
    await relay.close();
  }
}

/** As a process of its own, with trace.c preloaded. */
if (process.argv[1]?.endsWith("life.ts")) {
  const root = process.argv[2]!;
  mkdirSync(root, { recursive: true });
  await live(root, (promised) => writeFileSync(process.env["TRACE_MARK"]!, JSON.stringify(promised)));
}
