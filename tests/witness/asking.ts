import type { Failure } from "tallystick/codes/codes";
import { Cosigning, type CosigningOptions } from "../../hosts/relay/cosigning/cosigning.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Log } from "../../hosts/relay/log/log.js";
import { MemorySource, optionsFor } from "../log/bench.js";
import { MemoryDisk } from "../log/disk.js";
import { must } from "./fixture.js";

/** One log that asks witnesses: its parts as the relay puts them together, with short waits. */
export class AskingLog {
  readonly told: string[] = [];
  readonly contradictions: Failure[] = [];
  log!: Log;
  cosigning: Cosigning | undefined;

  constructor(
    readonly disk = new MemoryDisk(),
    readonly source = new MemorySource(),
  ) {}

  readonly #wake = () => this.cosigning?.wake();

  static async open(): Promise<AskingLog> {
    const asking = new AskingLog();
    await asking.openLog();
    return asking;
  }

  async openLog(witnesses: CosigningOptions["witnesses"] = []): Promise<void> {
    this.source.disk = this.disk;
    const keys = witnesses.map(({ key }) => key);
    this.log = must(
      await Log.open("/log", optionsFor(this.disk, this.source, { witnesses: keys, onCheckpoint: this.#wake })),
    );
  }

  async begin(witnesses: CosigningOptions["witnesses"], more: Partial<CosigningOptions> = {}) {
    const begun = await Cosigning.begin({
      crypto: relayCrypto,
      log: this.log,
      witnesses,
      wanted: 0,
      nowMs: () => performance.now(),
      onChange: ({ key }, failure) => this.told.push(`${key.name} ${failure?.code ?? "cosigns"}`),
      onContradiction: (failure) => this.contradictions.push(failure),
      onFault: (error) => {
        throw error;
      },
      timeoutMs: 300,
      retryMinMs: 5,
      ...more,
    });
    if (begun.ok) this.cosigning = begun.value;
    return begun;
  }

  /** Integrates so many entries more. */
  async grow(count: number): Promise<void> {
    this.source.add(count);
    must(await this.log.sequence());
  }

  get published(): Uint8Array {
    return this.disk.files().get("/log/public/checkpoint")!;
  }

  async close(): Promise<void> {
    await this.cosigning?.close();
    await this.log.close();
  }
}
