import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Area, figure, goal, type Measured } from "./area.js";
import type { Harassed, Prepared, Ran } from "./relay-fleet.js";
import {
  at,
  BODY_BYTES,
  CHAIN_RECORDS_MAX,
  ceiling,
  Fleet,
  type LoadRun,
  median,
  round,
  runLoad,
} from "./relay-load.js";
import { RelayProcess } from "./relay-process.js";

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

const CEILING_MS = 2000;
const CEILING_QUICK_MS = 400;
/** Records of one run, over all its chains. */
const RECORDS = 240_000;
const RECORDS_QUICK = 12_000;
const HOSTILE_FACTOR = 10;
const HOSTILE_CONNECTIONS = 512;
/** As much as the relay reads at all. */
const HOSTILE_BODY_BYTES = 65_000;
const HOSTILE_CHAINS = 4;
const HOSTILE_ADDRESSES = 32;
const RSS_MAX_MB = 256;

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
    // What leaves the sender, who has his share of the same processors: ten times is asked for, this is what came of it.
    const offered = hostile.offeredPerSecond / ceilingPerSecond;
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
        hostile_offered_ratio: round(offered, 2),
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
        `beside ${figure(hostile.offeredPerSecond)} bad signatures a second, ${figure(round(offered, 2))} × the ceiling: p99 ${figure(hostile.p99Ms)} ms, ` +
          `${figure(round(hostile.p99Ratio, 3))} of the quiet ${figure(hostile.quietP99Ms)}; ${hostile.lost} records lost`,
      ],
    };
  } finally {
    await relay.end();
    rmSync(folder, { recursive: true, force: true });
  }
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
