import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { loadEngine } from "../../hosts/simulator/board.js";
import type { Simulation } from "../../hosts/simulator/simulation.js";
import { ensureEngine } from "../engine/build.js";
import { enrol } from "../enrol/enrol.js";
import { measuredText } from "../reading.js";
import { BOARDS, startBoard } from "./boards.js";
import { type BoardView, emptyLadder, Screen, type STEPS } from "./ladder.js";
import { type Proof, prove } from "./proof.js";
import { type RelayProcess, startRelay } from "./relay-process.js";
import {
  type DeviceStatus,
  newestFinalReading,
  type ReadingStatus,
  type RelayDescription,
  RelayView,
} from "./relay-view.js";

export interface DemoOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly forMs?: number;
  readonly jsonFile?: string;
}

const LOOK_MS = 500;
/** After the time is up, the newest readings may still be on their way to a final block. */
const FINAL_MAX_MS = 90_000;

/** Runs the demo; resolves with the exit status. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const demo = new Demo(options);
  try {
    return await demo.run();
  } catch (error) {
    console.error(`tallystick demo: ${(error as Error).message}`);
    return 1;
  } finally {
    await demo.close();
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #dataDir: string;
  readonly #views: BoardView[] = BOARDS.map(({ label, sensor }) => ({
    label,
    sensor,
    kid: undefined,
    ladder: emptyLadder(),
    newest: "",
    problem: undefined,
  }));
  readonly #screen = new Screen(process.stdout, this.#views);
  readonly #boards: Simulation[] = [];
  readonly #stop = new AbortController();
  #relay: RelayProcess | undefined;
  #interrupts = 0;
  #closing = false;
  #relayGone = false;

  constructor(options: DemoOptions) {
    this.#options = options;
    this.#dataDir = resolve(options.dataDir);
  }

  async run(): Promise<number> {
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);
    const engine = await ensureEngine({
      onProgress: ({ message, done, total }) => this.#screen.say(`engine: ${message} (${done} of ${total})`),
    });
    this.#screen.say(`engine: XS, ${engine.hash.slice(0, 16)}`);
    this.#relay = await startRelay(join(this.#dataDir, "relay"), this.#options.port);
    void this.#relay.ended.then((why) => {
      if (this.#closing) return;
      this.#screen.say(why);
      this.#relayGone = true;
      this.#stop.abort();
    });
    const relay = new RelayView(this.#relay.url);
    const description = await relay.describe();
    this.#screen.say(`relay: ${relay.url}`);
    this.#screen.say(`ledger: ${description.ledger?.name ?? "none"} (a development chain on this machine: see README)`);
    await this.#startBoards(engine, description);
    await this.#watch(relay);
    return this.#finish(relay, description);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#boards.map((board) => board.cutPower()));
    await this.#relay?.stop();
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
  }

  /** The first asks for an orderly end, a second one for an end at once. */
  readonly #onSignal = (): void => {
    this.#interrupts++;
    this.#stop.abort();
    if (this.#interrupts > 1) void this.close().finally(() => process.exit(130));
  };

  async #startBoards(engine: Parameters<typeof loadEngine>[0], description: RelayDescription): Promise<void> {
    const loaded = loadEngine(engine);
    const relayData = join(this.#dataDir, "relay");
    for (const [i, board] of BOARDS.entries()) {
      const view = this.#views[i]!;
      const simulation = await startBoard({
        board,
        engine: loaded,
        dataDir: this.#dataDir,
        relayUrl: this.#relay!.url,
        provision: {
          origin: description.origin,
          deviceKey: fromHex(description.device_key)!,
          logKey: description.log_key,
          token: async () => enrol(relayData),
        },
        onPrint: (line) => onBoardLine(view, line),
        onEnd: (what) => {
          view.problem = what;
        },
      });
      this.#boards.push(simulation);
    }
  }

  async #watch(relay: RelayView): Promise<void> {
    const endMs = this.#options.forMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + this.#options.forMs;
    while (!this.#stop.signal.aborted && Date.now() < endMs) {
      await this.#look(relay);
      await pause(Math.min(LOOK_MS, Math.max(0, endMs - Date.now())), this.#stop.signal);
    }
    if (this.#interrupts > 0)
      this.#screen.say("stopping: waiting until a reading of each board is final (Ctrl-C again ends at once)");
    const finalMs = Date.now() + FINAL_MAX_MS;
    while (Date.now() < finalMs && this.#interrupts < 2 && !this.#relayGone) {
      const statuses = await this.#look(relay);
      if ((await Promise.all(statuses.map((status) => status && newestFinalReading(relay, status)))).every(Boolean))
        return;
      await pause(LOOK_MS);
    }
  }

  async #look(relay: RelayView): Promise<(DeviceStatus | undefined)[]> {
    const statuses = await Promise.all(this.#views.map(({ kid }) => (kid ? relay.device(kid) : undefined)));
    for (const [i, view] of this.#views.entries()) {
      const status = statuses[i];
      if (!status?.received) continue;
      for (const step of ["received", "logged", "submitted", "final"] as const)
        view.ladder[step] = status[step]?.count ?? 0;
      // What the relay holds, the board held; its own lines may come a moment later.
      view.ladder.held = Math.max(view.ladder.held, view.ladder.received);
      const { readings } = await relay.record(status.received.id);
      if (readings) view.newest = newestText(readings);
    }
    this.#screen.draw();
    return statuses;
  }

  async #finish(relay: RelayView, description: RelayDescription): Promise<number> {
    if (this.#relayGone) return 1;
    const statuses = await this.#look(relay);
    this.#screen.end();
    const proofs: Proof[] = [];
    for (const [i, view] of this.#views.entries()) {
      const status = statuses[i];
      const id = status && (await newestFinalReading(relay, status));
      if (!status || !id || !description.ledger) {
        console.log(`\n${view.label}: no reading is final yet${view.problem ? ` (${view.problem})` : ""}`);
        continue;
      }
      const device = fromDidKey(status.did);
      if (!device || toHex(kidOf(portableCrypto.sha256, device)) !== view.kid)
        throw new Error(`the relay names ${status.did} as the key of ${view.kid}, which it is not`);
      const proof = await prove(view.label, join(this.#dataDir, "evidence"), relay.url, id, {
        logKey: description.log_key,
        device: status.did,
        chainId: description.ledger.chain_id,
        contract: description.ledger.contract,
        blockHash: (number) => relay.blockHash(description.ledger!, number),
      });
      console.log(
        `\n${view.label}: tallystick verify ${proof.file} --policy ${proof.file.replace(/\.tally$/, ".policy.json")}`,
      );
      console.log(proof.output.trimEnd());
      proofs.push(proof);
    }
    const proved = proofs.filter((proof) => proof.proved).length;
    console.log(`\n${proved} of ${this.#views.length} boards' readings proved from sensor to ledger`);
    this.#writeJson(proved, description);
    return proved === this.#views.length ? 0 : 1;
  }

  #writeJson(proved: number, description: RelayDescription): void {
    if (this.#options.jsonFile === undefined) return;
    const sum = (step: (typeof STEPS)[number]) => this.#views.reduce((total, view) => total + view.ladder[step], 0);
    const report = {
      devices: this.#views.length,
      records_held: sum("held"),
      records_received: sum("received"),
      records_logged: sum("logged"),
      records_submitted: sum("submitted"),
      records_final: sum("final"),
      evidence_verified: proved,
      engine: "xs",
      ledger: description.ledger?.name ?? "none",
    };
    writeFileSync(this.#options.jsonFile, `${JSON.stringify(report, null, 2)}\n`);
  }
}

/** The last reading of each quantity; they come in the order of time. */
function newestText(readings: readonly ReadingStatus[]): string {
  const newest = new Map(readings.map((reading) => [reading.name, reading]));
  return [...newest.values()]
    .map(({ name, unit, value, fault }) => `${name} ${measuredText({ unit, value: value ?? { fault: fault ?? "" } })}`)
    .join(", ");
}

/** A board's own log, as modules/device prints it: `label: event=… key=value …`. */
function onBoardLine(view: BoardView, line: string): void {
  const fields = new Map([...line.matchAll(/([a-z]+)=(\S+)/g)].map(([, name, value]) => [name!, value!]));
  switch (fields.get("event")) {
    case "held":
      view.ladder.held = Number(fields.get("seq")) + 1;
      view.problem = undefined;
      break;
    case "key":
    case "resumed":
      view.kid = fields.get("kid");
      break;
    case "problem":
      view.problem = line.slice(line.indexOf("code=") + "code=".length).split(" ", 1)[0];
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
    function end(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      done();
    }
  });
}
