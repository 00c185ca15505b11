import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { fromHex } from "tallystick/bytes/bytes";
import { parseRecord, toBeSigned } from "tallystick/record/record";
import { splitBatch } from "tallystick/sync/messages";
import { type Area, figure, goal, type Measured } from "./area.js";
import type { CeilingJob } from "./relay-ceiling.js";
import { must } from "./relay-chain.js";
import type { Harassed, Order, Prepared, Ran } from "./relay-fleet.js";

/**
 * What a relay takes in: durable, verified and logged records a second, from honest devices alone and beside hostile ones.
 * The relay is the command's own process, the devices are another, and the engine's ceiling is measured between the runs,
 * with as many threads as the relay has: whatever else the machine does hits all of them.
 */
export const relayArea: Area = {
  name: "relay",
  description: "records a second that a relay verifies, makes durable and logs; and beside a flood of bad signatures",
  run: ({ quick, progress }) => measureRelay(quick, progress),
};

const BODY_BYTES = 16_384;
const CEILING_MS = 2000;
const CEILING_QUICK_MS = 400;
/** Records of one run, over all its chains. */
const RECORDS = 240_000;
const RECORDS_QUICK = 12_000;
/** A key has a budget: see hosts/relay/intake.ts. */
const CHAIN_RECORDS_MAX = 80_000;
const CONNECTIONS_MAX = 64;
const HOSTILE_FACTOR = 10;
const HOSTILE_CONNECTIONS = 128;
/** As much as the relay reads at all. */
const HOSTILE_BODY_BYTES = 65_000;
const HOSTILE_CHAINS = 4;
const HOSTILE_ADDRESSES = 32;
const RSS_MAX_MB = 256;
const LOGGED_WAIT_MAX_MS = 120_000;

const COMMAND = fileURLToPath(new URL("../tallystick.mjs", import.meta.url));
const FLEET = fileURLToPath(new URL("./relay-fleet.ts", import.meta.url));

interface LoadRun {
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

async function measureRelay(quick: boolean, progress: (line: string) => void): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-bench-"));
  const relay = await RelayProcess.start(folder);
  try {
    const threads = availableParallelism();
    const ceilings: number[] = [];
    const runs: LoadRun[] = [];
    let sample: Prepared["sample"] = [];
    const perRun = quick ? RECORDS_QUICK : RECORDS;
    for (const [fleet, chains] of [10, 1, 10, 1000].entries()) {
      progress(`relay: ${chains} chains: signing`);
      const devices = new Fleet();
      const recordsPerChain = Math.min(CHAIN_RECORDS_MAX, Math.ceil(perRun / chains));
      const order = { what: "prepare", chains, recordsPerChain, bodyBytes: BODY_BYTES, fleet } as const;
      const prepared = await devices.ask<Prepared>({ ...order, url: relay.url, origin: relay.origin });
      sample = prepared.sample;
      progress(`relay: ${chains} chains: the engine's ceiling`);
      ceilings.push(await ceiling(sample, threads, quick ? CEILING_QUICK_MS : CEILING_MS));
      progress(`relay: ${chains} chains: ${prepared.records} records in ${prepared.requests} requests`);
      const load = await runLoad(relay, devices, prepared, chains);
      // The first one is for the compiler.
      if (fleet > 0) runs.push(load);
      devices.end();
    }
    ceilings.push(await ceiling(sample, threads, quick ? CEILING_QUICK_MS : CEILING_MS));
    const hostile = await measureHostile(relay, Math.max(...ceilings), quick, progress);
    const slowest = runs.reduce((a, b) => (a.records_per_second < b.records_per_second && a.chains > 1 ? a : b));
    const ceilingPerSecond = median(ceilings);
    const ratio = slowest.records_per_second / ceilingPerSecond;
    const goals = [
      goal("ratio_to_ceiling", "at least", 0.6, round(ratio, 3)),
      goal("hostile_honest_lost", "at most", 0, hostile.lost),
      goal("hostile_p99_ratio", "at most", 2, round(hostile.p99Ratio, 3)),
      goal("hostile_rss_mb", "at most", RSS_MAX_MB, hostile.rssMb),
    ];
    return {
      json: {
        area: "relay",
        records_per_second: slowest.records_per_second,
        verify_ceiling_per_second: Math.round(ceilingPerSecond),
        ratio_to_ceiling: round(ratio, 3),
        p99_ms: slowest.p99_ms,
        rss_mb: slowest.rss_mb,
        hostile_honest_lost: hostile.lost,
        hostile_p99_ratio: round(hostile.p99Ratio, 3),
        hostile_rss_mb: hostile.rssMb,
        goals,
        threads,
        ceilings: ceilings.map(Math.round),
        runs,
        hostile,
      },
      table: [
        `the engine alone, in ${threads} threads: ${figure(Math.round(ceilingPerSecond))} signatures a second`,
        "chains   records/s  of ceiling   p50 ms   p90 ms   p99 ms   RSS MB   CPU us",
        ...runs.map((run) =>
          [
            String(run.chains).padStart(6),
            figure(run.records_per_second).padStart(11),
            figure(round(run.records_per_second / ceilingPerSecond, 3)).padStart(11),
            ...[run.p50_ms, run.p90_ms, run.p99_ms, run.rss_mb, run.relay_cpu_us].map((ms) => figure(ms).padStart(8)),
          ].join(" "),
        ),
        `beside ${figure(hostile.offeredPerSecond)} bad signatures a second: p99 ${figure(hostile.p99Ms)} ms, ` +
          `${figure(round(hostile.p99Ratio, 3))} of the quiet ${figure(hostile.quietP99Ms)}; ${hostile.lost} records lost`,
      ],
    };
  } finally {
    await relay.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One fleet alone. The clock stops when the log's checkpoint has all that was sent. */
async function runLoad(relay: RelayProcess, devices: Fleet, prepared: Prepared, chains: number): Promise<LoadRun> {
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

interface Hostile {
  readonly offeredPerSecond: number;
  readonly lost: number;
  readonly quietP99Ms: number;
  readonly p99Ms: number;
  readonly p99Ratio: number;
  readonly rssMb: number;
  readonly statuses: Readonly<Record<string, number>>;
}

/** The same honest traffic twice, at a pace that leaves the relay idle half of the time; the second time beside hostile. */
async function measureHostile(
  relay: RelayProcess,
  ceilingPerSecond: number,
  quick: boolean,
  progress: (line: string) => void,
): Promise<Hostile> {
  const honest: Ran[] = [];
  let harassed: Harassed | undefined;
  let offeredPerSecond = 0;
  for (const [i, isHostile] of [false, true].entries()) {
    const devices = new Fleet();
    const order = { chains: 10, recordsPerChain: quick ? 600 : 6000, bodyBytes: BODY_BYTES, fleet: 100 + i } as const;
    const prepared = await devices.ask<Prepared>({ what: "prepare", ...order, url: relay.url, origin: relay.origin });
    await relay.logged(order.chains);
    progress(`relay: honest traffic ${isHostile ? "beside" : "without"} hostile`);
    const enemy = new Fleet();
    let harassing: Promise<Harassed> | undefined;
    let beginMs = 0;
    if (isHostile) {
      // Keys that are enrolled: bad signatures under unknown ones are not even read.
      const few = { chains: HOSTILE_CHAINS, recordsPerChain: 400, bodyBytes: HOSTILE_BODY_BYTES, fleet: 200 } as const;
      await enemy.ask<Prepared>({ what: "prepare", ...few, url: relay.url, origin: relay.origin });
      await relay.logged(few.chains);
      const addresses = Array.from({ length: HOSTILE_ADDRESSES }, (_, n) => `127.0.${1 + (n >> 7)}.${2 + (n & 127)}`);
      const signaturesPerSecond = Math.round(HOSTILE_FACTOR * ceilingPerSecond);
      beginMs = performance.now();
      harassing = enemy.ask<Harassed>({
        what: "harass",
        signaturesPerSecond,
        connections: HOSTILE_CONNECTIONS,
        addresses,
      });
    }
    const ran = await devices.ask<Ran>({ what: "run", connections: 10 });
    honest.push(ran);
    if (harassing) {
      enemy.tell({ what: "stop" });
      harassed = await harassing;
      offeredPerSecond = Math.round((harassed.signatures / (performance.now() - beginMs)) * 1000);
    }
    enemy.end();
    devices.end();
    await relay.logged(prepared.records - ran.lost);
  }
  const [quiet, beside] = honest.map(({ latenciesMs }) =>
    at(
      latenciesMs.toSorted((a, b) => a - b),
      0.99,
    ),
  );
  return {
    offeredPerSecond,
    lost: honest[1]!.lost,
    quietP99Ms: quiet!,
    p99Ms: beside!,
    p99Ratio: beside! / quiet!,
    rssMb: relay.rssMb(),
    statuses: harassed!.statuses,
  };
}

/** Signatures a second that the engine verifies in `threads` threads, none of which does anything else. */
async function ceiling(sample: Prepared["sample"], threads: number, forMs: number): Promise<number> {
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

/** The relay as its command starts it. */
class RelayProcess {
  readonly url: string;
  readonly origin: string;
  readonly #child: ChildProcess;
  /** Entries that the log has, or will have soon: its opening is the first. */
  #expected = 1;

  private constructor(child: ChildProcess, url: string, origin: string) {
    this.#child = child;
    this.url = url;
    this.origin = origin;
  }

  static async start(folder: string): Promise<RelayProcess> {
    const args = ["relay", "--data", join(folder, "relay"), "--init", "--open-enrolment", "--json", "--log", "error"];
    const child = spawn(process.execPath, [COMMAND, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      const { url, origin } = JSON.parse(line) as { url: string; origin: string };
      return new RelayProcess(child, url, origin);
    }
    throw new Error("the relay did not start");
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Entries of the newest checkpoint. */
  async size(): Promise<number> {
    const checkpoint = await (await fetch(`${this.url}/checkpoint`)).text();
    return Number(checkpoint.split("\n")[1]);
  }

  /** Until the log has so many entries more than when it was waited for last. */
  async logged(entries: number): Promise<void> {
    this.#expected += entries;
    const size = this.#expected;
    const untilMs = performance.now() + LOGGED_WAIT_MAX_MS;
    while ((await this.size()) < size) {
      if (performance.now() > untilMs)
        throw new Error(`expected ${size} entries in the log within ${LOGGED_WAIT_MAX_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Most memory that it has had since the last look, in MiB; 0 where the system does not say. */
  rssMb(): number {
    if (process.platform !== "linux") return 0;
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  }

  async end(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await exited;
  }
}

/** A fleet's process. */
class Fleet {
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

/** Processor time that a process has had with all its threads; 0 where the system does not say. */
function cpuMs(pid: number): number {
  if (process.platform !== "linux") return 0;
  // proc(5): fields 14 and 15, in ticks of 10 ms, behind a name that may contain anything but a closing bracket.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function at(sorted: readonly number[], share: number): number {
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0, 2);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
