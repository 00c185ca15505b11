import { join, resolve } from "node:path";
import { readToken, writeToken } from "tallystick/sync/enrolment";
import { loadEngine } from "../../hosts/simulator/board.js";
import type { Simulation } from "../../hosts/simulator/simulation.js";
import { look, newView, onBoardCrash, onBoardLine, seeRefusal } from "../demo/board-view.js";
import { BOARDS, boardImage, boardKeys, type DemoBoard, provision, startBoard } from "../demo/boards.js";
import { type FolderKind, type TakenFolder, takeFolder } from "../demo/folder.js";
import { Interrupts, pause } from "../demo/interrupts.js";
import { type BoardView, Screen } from "../demo/ladder.js";
import { RelayView } from "../demo/relay-view.js";
import { ensureEngine } from "../engine/build.js";
import { fetchPins } from "../firmware/provision.js";

export interface SimulateOptions {
  readonly relayUrl: string;
  /** Of a new board: what lets it in. Of one that no relay has taken in yet: the token in the place of its own. */
  readonly token?: string;
  /** Which of the demo's boards. */
  readonly label: string;
  readonly dataDir: string;
  readonly forMs?: number;
}

/** A board's folder: the only copy of its key, and records that the relay may not have yet. */
const BOARD_FOLDER: FolderKind = { lock: "board.lock", names: ["flash.bin", "keys.json"], user: "board" };
const LOOK_MS = 500;
const REFUSED_TOKEN = "TOKEN_INVALID";
/** At the end the newest records may still be on their way to the relay. */
const SETTLE_MAX_MS = 10_000;

/** Runs one board; resolves with the exit status: 0 where the relay has received all that the board held at the end. */
export async function simulate(options: SimulateOptions): Promise<number> {
  const run = new SimulatedBoard(options);
  try {
    return await run.run();
  } catch (error) {
    console.error(`tallystick simulate: ${(error as Error).message}`);
    return 1;
  } finally {
    await run.close();
  }
}

class SimulatedBoard {
  readonly #options: SimulateOptions;
  readonly #board: DemoBoard;
  readonly #folder: string;
  readonly #view: BoardView;
  readonly #screen: Screen;
  readonly #relay: RelayView;
  readonly #interrupts = new Interrupts(() => this.close());
  #taken: TakenFolder | undefined;
  #simulation: Simulation | undefined;
  #closing: Promise<void> | undefined;
  /** Position of the newest record that the relay says it has. */
  #receivedSeq = -1;

  constructor(options: SimulateOptions) {
    this.#options = options;
    this.#board = BOARDS.find(({ label }) => label === options.label)!;
    this.#folder = join(resolve(options.dataDir), options.label);
    this.#view = newView(this.#board);
    this.#screen = new Screen(process.stdout, [this.#view]);
    this.#relay = new RelayView(options.relayUrl);
  }

  async run(): Promise<number> {
    this.#taken = takeFolder(this.#folder, BOARD_FOLDER);
    await this.#provision();
    await this.#start();
    if (this.#view.kid === undefined)
      throw new Error(this.#view.over ?? this.#view.problem ?? "the board did not start");
    this.#screen.say(`${this.#view.label}: ${this.#view.sensor}, kid ${this.#view.kid}, in ${this.#folder}`);
    return this.#tell(await this.#watch());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#simulation?.cutPower();
    this.#taken?.release();
    this.#interrupts.release();
  }

  /** A new board learns of its relay; one that waits to be let in may get another token; any other has no use for one. */
  async #provision(): Promise<void> {
    const { relayUrl, token } = this.#options;
    const leave = token === undefined ? undefined : new TextEncoder().encode(token);
    const isNew = await provision(this.#folder, {
      pins: () => fetchPins(relayUrl),
      token: () => {
        if (leave) return leave;
        throw new Error(
          "a new board needs a token: make one with tallystick enrol where the relay runs, and give it with --token",
        );
      },
    });
    if (isNew || !leave) return;
    const keys = boardKeys(this.#folder);
    if (readToken(keys)) writeToken(keys, leave);
    else this.#screen.say(`${this.#view.label}: is enrolled already; the token is not used`);
  }

  async #start(): Promise<void> {
    const engine = await ensureEngine({
      onProgress: ({ message, done, total }) => this.#screen.say(`engine: ${message} (${done} of ${total})`),
    });
    this.#screen.say(`engine: XS, ${engine.hash.slice(0, 16)}`);
    this.#screen.say(`relay: ${this.#relay.url}`);
    const loaded = loadEngine(engine);
    const image = await boardImage(loaded, this.#board);
    this.#simulation = await startBoard({
      board: this.#board,
      engine: loaded,
      image,
      folder: this.#folder,
      relayUrl: this.#relay.url,
      onPrint: (line) => onBoardLine(this.#view, line),
      onCrash: (what, forGood) => onBoardCrash(this.#view, what, forGood),
    });
    seeRefusal(this.#view);
  }

  /** Until the end that was asked for, and then until the relay has what was recorded by then: whether it has. */
  async #watch(): Promise<boolean> {
    const { forMs } = this.#options;
    const endMs = forMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + forMs;
    while (!this.#interrupts.stopped && Date.now() < endMs && !this.#isOver()) {
      await this.#look();
      await pause(Math.min(LOOK_MS, Math.max(0, endMs - Date.now())), this.#interrupts.signal);
    }
    const seq = this.#heldSeq;
    const settledMs = Date.now() + SETTLE_MAX_MS;
    while (!this.#isOver() && this.#receivedSeq < seq && Date.now() < settledMs) {
      await pause(LOOK_MS);
      await this.#look();
    }
    this.#screen.end();
    return !this.#isOver() && this.#receivedSeq >= seq;
  }

  /** Counts of records tell less: those that a gap record names are in neither. */
  get #heldSeq(): number {
    return this.#view.ladder.held - 1;
  }

  async #look(): Promise<void> {
    const status = await look(this.#relay, this.#view);
    this.#receivedSeq = Math.max(this.#receivedSeq, status?.received?.seq ?? -1);
    this.#screen.draw();
  }

  #tell(isReceived: boolean): number {
    const { label, over, problem } = this.#view;
    if (over?.startsWith(REFUSED_TOKEN)) {
      console.error(`tallystick simulate: ${over}`);
      console.error(`What it has recorded stays: start it again on ${this.#folder} with another --token.`);
    } else if (over !== undefined) console.error(`tallystick simulate: ${over}`);
    else if (isReceived)
      console.log(`${label}: the relay has what was recorded; the same command goes on with this chain`);
    else {
      const until = `up to seq ${this.#heldSeq}`;
      const lacking = `the relay lacks the records after seq ${this.#receivedSeq}, ${until}`;
      // What it had before this start it has not said in this one.
      console.log(`${label}: ${this.#receivedSeq < 0 ? `no word from the relay on the records ${until}` : lacking}`);
      if (problem !== undefined) console.log(problem);
      console.log(`They are kept in ${this.#folder}, and brought when it is started again.`);
    }
    return isReceived ? 0 : 1;
  }

  /** What no waiting mends: a token that the relay does not take, or a board that crashed too often. */
  #isOver(): boolean {
    if (this.#view.problem?.startsWith(REFUSED_TOKEN)) this.#view.over = this.#view.problem;
    return this.#view.over !== undefined;
  }
}
