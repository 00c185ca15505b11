import { fileURLToPath } from "node:url";
import { utf8 } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { KEY_DOMAIN } from "../../../hosts/board/platform.js";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { type Image, type LoadedEngine, loadEngine } from "../../../hosts/simulator/board.js";
import type { Lane } from "../../../hosts/simulator/lane.js";
import { laneA } from "../../../hosts/simulator/lane-a.js";
import { BoardCrash, buildBoardImage, laneB } from "../../../hosts/simulator/lane-b.js";
import { type End, Simulation } from "../../../hosts/simulator/simulation.js";
import { difference, Trace } from "../../../hosts/simulator/trace.js";
import { seededEntropy } from "../../../hosts/simulator/world/entropy.js";
import { MemoryKeys } from "../../../hosts/simulator/world/keys.js";
import { NorFlash } from "../../../hosts/simulator/world/nor.js";
import { VirtualTime } from "../../../hosts/simulator/world/time.js";
import { World } from "../../../hosts/simulator/world/world.js";
import { ensureEngine } from "../../../tools/engine/build.js";
import application, { PLAN_NAME, readTold } from "./application.js";
import {
  type CutCase,
  mayWait,
  type Outcome,
  type PlannedStart,
  preludeOf,
  repeats,
  SECTOR_BYTES,
  startsOf,
} from "./case.js";
import type { AnyCase } from "./classes.js";
import { Oracle, Violation } from "./oracle.js";

/**
 * Cases on whole boards: the start runs behind the wire, in lane A on Node's engine and in lane B on XS in a C3's memory,
 * with the device's Ed25519. Both lanes must do the same, byte for byte, and what they tell must hold.
 */
export class Boards {
  readonly #engine: LoadedEngine;
  readonly #image: Image;

  private constructor(engine: LoadedEngine, image: Image) {
    this.#engine = engine;
    this.#image = image;
  }

  static async ready(): Promise<Boards> {
    const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, here("application.ts"), [
      { name: "session", path: here("session.ts") },
      { name: "hosts/simulator/world/random", path: here("../../../hosts/simulator/world/random.ts") },
    ]);
    return new Boards(engine, image);
  }

  /** Runs a case in both lanes. Damage that is no cut has no case on boards. */
  async tryAny(any: AnyCase): Promise<Outcome> {
    if (!("cuts" in any)) throw new TypeError("expected a case with cuts");
    return this.tryCase(any);
  }

  async tryCase(cutCase: CutCase): Promise<Outcome> {
    const onNode = await runLane(cutCase, laneA(application, relayCrypto));
    const onXs = await runLane(cutCase, laneB(this.#engine, this.#image));
    const parted = difference(onNode.trace, onXs.trace);
    const failures = [
      onNode.failure && `on Node: ${onNode.failure}`,
      onXs.failure && `on XS: ${onXs.failure}`,
      parted && `the lanes part at ${parted}`,
    ].filter((failure) => failure !== undefined);
    const { cuts, waited } = onXs;
    return { cuts, waited, ...(failures.length > 0 && { failure: failures.join("\n") }) };
  }
}

/** The boards' key: RFC 8032's secret key of 32 bytes. Nothing here is secret. */
const SEED = new Uint8Array(32).fill(42);

async function runLane(cutCase: CutCase, lane: Lane): Promise<Outcome & { readonly trace: Trace }> {
  const { unit, sectors, seed } = cutCase;
  const keys = new MemoryKeys();
  keys.write(KEY_DOMAIN, "seed", SEED);
  const prelude = preludeOf(cutCase, signerOf(keys), relayCrypto.sha256);
  const flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes: unit, seed });
  flash.restore(prelude.flash);
  const world = new World({
    model: "simulator",
    firmware: { version: "0.1.0-test", sha256: new Uint8Array(32) },
    time: new VirtualTime(0),
    flash: { chain: flash },
    keys,
    entropy: seededEntropy("cuts"),
  });
  const oracle = Oracle.after(prelude.oracle);
  oracle.mayWait = mayWait(cutCase);
  const trace = new Trace();
  let cuts = 0;
  let violation: string | undefined;
  const onPrint = (line: string): void => {
    const told = readTold(line);
    if (told === undefined || violation !== undefined) return;
    try {
      oracle.hear(told);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      violation = error.message;
    }
  };
  const onEnd = (end: End): void => {
    if (end.kind === "power-cut") cuts++;
    else violation ??= end.kind === "crash" ? crashText(end.error) : `the start ended: ${end.kind}`;
  };
  const simulation = new Simulation({ world, lane, trace, onPrint, onEnd });
  let last: PlannedStart["kind"] | undefined;
  for (const start of startsOf(cutCase)) {
    if (repeats(start.kind, last, flash)) continue;
    last = start.kind;
    const { cut, newKey: _, ...plan } = { ...start, from: oracle.unreleased };
    world.keys.write(KEY_DOMAIN, PLAN_NAME, utf8(JSON.stringify(plan)));
    flash.cutAt(cut);
    await simulation.powerOn();
    // A start that was not cut is over: turning it off is no cut.
    if (simulation.state !== "off") {
      await simulation.cutPower();
      cuts--;
    }
    if (violation !== undefined) return { cuts, waited: oracle.waited, failure: violation, trace };
  }
  return { cuts, waited: oracle.waited, trace };
}

function signerOf(keys: MemoryKeys): Identity {
  const store = {
    read: (name: string) => keys.read(KEY_DOMAIN, name),
    write: (name: string, value: Uint8Array) => keys.write(KEY_DOMAIN, name, value),
    delete: (name: string) => keys.delete(KEY_DOMAIN, name),
  };
  const identity = Identity.open({ keys: store, crypto: relayCrypto });
  if (!identity.ok || identity.value === undefined) throw new Error("no key");
  return identity.value;
}

function crashText(error: unknown): string {
  if (!(error instanceof BoardCrash)) return `the board crashed: ${String(error)}`;
  const { message, source, line, calls = [] } = error.end;
  const stack = calls.map(({ place, slots }) => `${place} ${slots}`).join(", ");
  return `the board crashed: ${message} at ${source}:${line}${stack && ` (${stack})`}`;
}
