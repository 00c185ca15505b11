import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { fromHex } from "tallystick/bytes/bytes";
import { parseRecord, toBeSigned } from "tallystick/record/record";
import { splitBatch } from "tallystick/sync/messages";
import type { CeilingJob } from "./relay-ceiling.js";
import { must } from "./relay-chain.js";
import type { Order, Prepared, Ran } from "./relay-fleet.js";
import { cpuMs, type RelayProcess } from "./relay-process.js";

/** Honest load on a relay, and what its engine alone could do in its place. */

export const BODY_BYTES = 16_384;
/** A key has a budget: see hosts/relay/intake.ts. */
export const CHAIN_RECORDS_MAX = 80_000;
const CONNECTIONS_MAX = 64;

const FLEET = fileURLToPath(new URL("./relay-fleet.ts", import.meta.url));

export interface LoadRun {
  readonly chains: number;
  readonly records: number;
  readonly records_per_second: number;
  readonly p50_ms: number;
  readonly p90_ms: number;
  readonly p99_ms: number;
  readonly rss_mb: number;
  /** Processor time of the relay for each record, and of the devices' process; the engine's own is in it. */
  readonly relay_cpu_us: number;
  readonly fleet_cpu_us: number;
  readonly refused: number;
  readonly lost: number;
}

/** One fleet alone. The clock stops when the log's checkpoint has all that was sent. */
export async function runLoad(
  relay: RelayProcess,
  devices: Fleet,
  prepared: Prepared,
  chains: number,
): Promise<LoadRun> {
  await relay.logged(chains);
  const cpuBeforeMs = [cpuMs(relay.pid), cpuMs(devices.pid)];
  const beginMs = performance.now();
  const connections = Math.min(CONNECTIONS_MAX, chains);
  const ran = await devices.ask<Ran>({ what: "run", connections });
  await relay.logged(prepared.records);
  const takenMs = performance.now() - beginMs;
  const [relayCpuMs, fleetCpuMs] = [relay.pid, devices.pid].map((pid, i) => cpuMs(pid) - cpuBeforeMs[i]!);
  const sorted = ran.latenciesMs.toSorted((a, b) => a - b);
  return {
    chains,
    records: ran.records,
    records_per_second: Math.round((ran.records / takenMs) * 1000),
    p50_ms: at(sorted, 0.5),
    p90_ms: at(sorted, 0.9),
    p99_ms: at(sorted, 0.99),
    rss_mb: relay.rssMb(),
    relay_cpu_us: round((relayCpuMs! / ran.records) * 1000, 1),
    fleet_cpu_us: round((fleetCpuMs! / ran.records) * 1000, 1),
    refused: ran.refused,
    lost: ran.lost,
  };
}

/** Signatures a second that the engine verifies in `threads` threads, none of which does anything else. */
export async function ceiling(sample: Prepared["sample"], threads: number, forMs: number): Promise<number> {
  const signed = sample.flatMap(({ publicKey, body }) =>
    must(splitBatch(fromHex(body)!)).records.map((bytes) => {
      const record = must(parseRecord(bytes));
      const copy = (part: Uint8Array): Uint8Array => part.slice();
      return { signature: copy(record.signature), message: copy(toBeSigned(record)), publicKey: fromHex(publicKey)! };
    }),
  );
  const workerData: CeilingJob = { forMs, signed };
  const rates = await Promise.all(
    Array.from({ length: threads }, async () => {
      const worker = new Worker(new URL("./relay-ceiling.mjs", import.meta.url), { workerData });
      return await new Promise<number>((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    }),
  );
  return rates.reduce((sum, rate) => sum + rate, 0);
}

/** A fleet's process. */
export class Fleet {
  readonly #child = fork(FLEET, { execArgv: ["--import", "tsx"] });

  get pid(): number {
    return this.#child.pid!;
  }

  ask<T>(order: Order): Promise<T> {
    return new Promise((resolve, reject) => {
      const failed = (code: number | null): void => reject(new Error(`the fleet ended with ${code}`));
      this.#child.once("exit", failed);
      this.#child.once("message", (answer) => {
        this.#child.off("exit", failed);
        resolve(answer as T);
      });
      this.tell(order);
    });
  }

  tell(order: Order): void {
    this.#child.send(order);
  }

  end(): void {
    this.#child.kill();
  }
}

export function at(sorted: readonly number[], share: number): number {
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0, 2);
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
