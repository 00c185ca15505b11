import { accessSync, constants, existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import type { RelayPinsText } from "tallystick/sync/relay-pins";
import { type Image, type LoadedEngine, loadEngine } from "../../hosts/simulator/board.js";
import type { Simulation } from "../../hosts/simulator/simulation.js";
import { ensureEngine } from "../engine/build.js";
import { enrol } from "../enrol/enrol.js";
import { look, newView, onBoardCrash, onBoardLine, seeRefusal } from "./board-view.js";
import { BOARDS, boardImage, provision, startBoard } from "./boards.js";
import { DEMO_FOLDER, type TakenFolder, takeFolder } from "./folder.js";
import { Interrupts, pause } from "./interrupts.js";
import { type BoardView, Screen, type STEPS } from "./ladder.js";
import { type Proof, prove } from "./proof.js";
import { type RelayProcess, startRelay } from "./relay-process.js";
import { type DeviceStatus, newestFinalReading, type RelayDescription, RelayView } from "./relay-view.js";

export interface DemoOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly forMs?: number;
  readonly jsonFile?: string;
}

/** An interrupt before there was anything to prove. */
class Stopped extends Error {
  override name = "Stopped";
}

const LOOK_MS = 500;
const STOPPED_EARLY = "stopped before the boards were on: there is nothing to prove";
/** After the time is up, the newest readings may still be on their way to a final block. */
const FINAL_MAX_MS = 90_000;

/**
 * Runs the demo; resolves with the exit status: 0 where a reading of each board, taken in this run, was proved, and all
 * boards ran to the end.
 */
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
  readonly #views: BoardView[] = BOARDS.map(newView);
  readonly #screen = new Screen(process.stdout, this.#views);
  readonly #boards: Simulation[] = [];
  readonly #interrupts = new Interrupts(() => this.close());
  #relay: RelayProcess | undefined;
  #folder: TakenFolder | undefined;
  #closing: Promise<void> | undefined;
  #relayGone = false;

  constructor(options: DemoOptions) {
    this.#options = options;
    this.#dataDir = resolve(options.dataDir);
  }

  async run(): Promise<number> {
    this.#checkJsonFile();
    this.#folder = takeFolder(this.#dataDir, DEMO_FOLDER);
    const engine = await this.#orStopped(
      ensureEngine({
        onProgress: ({ message, done, total }) => this.#screen.say(`engine: ${message} (${done} of ${total})`),
      }),
    );
    this.#screen.say(`engine: XS, ${engine.hash.slice(0, 16)}`);
    const loaded = loadEngine(engine);
    // Both take seconds where nothing is cached, and neither needs the other.
    const starting = startRelay(join(this.#dataDir, "relay"), this.#options.port);
    const [relayProcess, images] = await Promise.all([
      starting.then((relay) => this.#watchProcess(relay)),
      Promise.all(BOARDS.map((board) => boardImage(loaded, board))),
    ]);
    const relay = new RelayView(relayProcess.url);
    const description = await relay.describe();
    this.#screen.say(`relay: ${relay.url}`);
    this.#screen.say(
      `ledger: ${description.ledger?.name ?? "none"} (on this machine alone: README says what it is not)`,
    );
    this.#checkStopped();
    await this.#startBoards(loaded, images, description);
    const proved = this.#refusal() ? 0 : await this.#watchAndProve(relay, description);
    this.#writeJson(proved, description);
    // A board that is over proves nothing more, whatever it proved before.
    return proved === this.#views.length && this.#views.every(({ over }) => over === undefined) ? 0 : 1;
  }

  /** Ends boards, then relay and chain, each in its order; a second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#boards.map((board) => board.cutPower()));
    await this.#relay?.stop();
    this.#folder?.release();
    this.#interrupts.release();
  }

  #orStopped<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#interrupts;
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Stopped(STOPPED_EARLY)), { once: true });
      work.then(resolve, reject);
    });
  }

  #checkStopped(): void {
    if (this.#interrupts.stopped) throw new Stopped(STOPPED_EARLY);
  }

  #watchProcess(relay: RelayProcess): RelayProcess {
    this.#relay = relay;
    void relay.ended.then((why) => {
      if (this.#closing) return;
      this.#screen.say(`${why}; the demo ends: start it again on this folder, nothing that was received is lost`);
      this.#relayGone = true;
      this.#interrupts.stop();
    });
    return relay;
  }

  /** Whether a board refused its own flash or keys; says which, with the board's own line about what to do. */
  #refusal(): boolean {
    const refused = this.#views.filter((view) => view.over !== undefined && view.kid === undefined);
    if (refused.length > 0) this.#screen.end();
    for (const { label, over } of refused) console.error(`tallystick demo: ${label}: ${over}`);
    return refused.length > 0;
  }

  async #watchAndProve(relay: RelayView, description: RelayDescription): Promise<number> {
    await this.#watch(relay);
    return this.#relayGone || this.#interrupts.count > 1 ? 0 : this.#prove(relay, description);
  }

  async #startBoards(engine: LoadedEngine, images: readonly Image[], description: RelayDescription): Promise<void> {
    const relayData = join(this.#dataDir, "relay");
    for (const [i, board] of BOARDS.entries()) {
      const view = this.#views[i]!;
      const folder = join(this.#dataDir, "boards", board.label);
      await provision(folder, { pins: async () => pinsOf(description), token: () => enrol(relayData) });
      const simulation = await startBoard({
        board,
        engine,
        image: images[i]!,
        folder,
        relayUrl: this.#relay!.url,
        onPrint: (line) => onBoardLine(view, line),
        onCrash: (what, forGood) => onBoardCrash(view, what, forGood),
      });
      this.#boards.push(simulation);
      seeRefusal(view);
    }
  }

  async #watch(relay: RelayView): Promise<void> {
    const endMs = this.#options.forMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + this.#options.forMs;
    while (!this.#interrupts.stopped && Date.now() < endMs) {
      await this.#look(relay);
      await pause(Math.min(LOOK_MS, Math.max(0, endMs - Date.now())), this.#interrupts.signal);
    }
    if (this.#relayGone) return;
    this.#screen.say("waiting until a reading of each board is final (Ctrl-C ends at once)");
    const finalMs = Date.now() + FINAL_MAX_MS;
    while (Date.now() < finalMs && this.#interrupts.count < 2 && !this.#relayGone) {
      const statuses = await this.#look(relay);
      const missing = await Promise.all(
        this.#views.map(async (view, i) => view.over === undefined && !(await this.#provable(relay, i, statuses[i]))),
      );
      if (!missing.some(Boolean)) return;
      await pause(LOOK_MS);
    }
  }

  /** The newest reading that is final, of those that the board took in this run. */
  #provable(relay: RelayView, i: number, status: DeviceStatus | undefined): Promise<string | undefined> {
    const view = this.#views[i]!;
    return status ? newestFinalReading(relay, status, view.resumedSeq) : Promise.resolve(undefined);
  }

  async #look(relay: RelayView): Promise<(DeviceStatus | undefined)[]> {
    const statuses = await Promise.all(this.#views.map((view) => look(relay, view)));
    this.#screen.draw();
    return statuses;
  }

  /** Evidence of a reading of each board, each verified in a process of its own; how many hold. */
  async #prove(relay: RelayView, description: RelayDescription): Promise<number> {
    const statuses = await this.#look(relay);
    this.#screen.end();
    const proofs = await Promise.all(
      this.#views.map((view, i) =>
        this.#proof(relay, description, view, statuses[i]).catch((error: Error) => `not proved: ${error.message}`),
      ),
    );
    for (const [i, view] of this.#views.entries()) {
      const proof = proofs[i]!;
      const crashes = view.crashes > 0 ? `; it crashed ${view.crashes} times: ${view.problem ?? "see above"}` : "";
      if (typeof proof === "string") console.log(`\n${view.label}: ${proof}${crashes}`);
      else {
        const { file, policyFile, output } = proof;
        console.log(`\n${view.label}: tallystick verify ${file} --policy ${policyFile}${crashes}`);
        console.log(output.trimEnd());
      }
    }
    const proved = proofs.filter((proof) => typeof proof !== "string" && proof.proved).length;
    console.log(`\n${proved} of ${this.#views.length} boards' readings proved from sensor to ledger`);
    return proved;
  }

  /** A text where there is nothing to verify: why not. */
  async #proof(
    relay: RelayView,
    { ledger, log_key }: RelayDescription,
    view: BoardView,
    status: DeviceStatus | undefined,
  ): Promise<Proof | string> {
    const id = await this.#provable(relay, this.#views.indexOf(view), status);
    if (!status || !id || !ledger) return `no reading of this run is final${view.over ? `; ${view.over}` : ""}`;
    const device = fromDidKey(status.did);
    if (!device || toHex(kidOf(portableCrypto.sha256, device)) !== view.kid)
      throw new Error(`the relay names ${status.did} as the key of ${view.kid}, which it is not`);
    return prove(view.label, join(this.#dataDir, "evidence"), relay.url, id, {
      logKey: log_key,
      device: status.did,
      chainId: ledger.chain_id,
      contract: ledger.contract,
      blockHash: (number) => relay.blockHash(ledger, number),
    });
  }

  /** Before the run: what it reached would be lost after it. */
  #checkJsonFile(): void {
    const { jsonFile } = this.#options;
    if (jsonFile === undefined) return;
    try {
      const isThere = existsSync(jsonFile);
      accessSync(isThere ? jsonFile : dirname(resolve(jsonFile)), constants.W_OK);
      if (isThere && statSync(jsonFile).isDirectory()) throw new Error(`${jsonFile} is a folder`);
    } catch (error) {
      throw unwritable(error);
    }
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
      board_crashes: this.#views.reduce((total, view) => total + view.crashes, 0),
      engine: "xs",
      ledger: description.ledger?.name ?? "none",
    };
    try {
      writeFileSync(this.#options.jsonFile, `${JSON.stringify(report, null, 2)}\n`);
    } catch (error) {
      throw unwritable(error);
    }
  }
}

function unwritable(error: unknown): Error {
  return new Error(`--json: ${(error as Error).message}; name a file that can be written`);
}

/** What the boards pin of the relay. */
function pinsOf({ origin, device_key, log_key, recovery_key, generation }: RelayDescription): RelayPinsText {
  const recoveryKey = recovery_key === undefined ? undefined : fromHex(recovery_key);
  const pins = { origin, deviceKey: fromHex(device_key)!, logKey: log_key, generation };
  return recoveryKey ? { ...pins, recoveryKey } : pins;
}
