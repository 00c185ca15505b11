import { mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Area, figure, goal, type Measured } from "./area.js";
import type { Prepared } from "./relay-fleet.js";
import { at, BODY_BYTES, ceiling, Fleet, type LoadRun, median, round, runLoad } from "./relay-load.js";
import { RelayProcess } from "./relay-process.js";

/**
 * Whether a relay that holds ten million records takes in the next as it took in the first: one relay is filled in steps,
 * each measured beside the engine's ceiling of the same minute. What a record costs in processor time says it more surely
 * than the rate, which the rest of the machine has its part in. At the end the relay is stopped and started again.
 */
export const relayGrowthArea: Area = {
  name: "relay-growth",
  description: "what a record costs a relay as its store grows to ten million, and how long it then takes to start",
  run: ({ quick, progress }) => measureGrowth(quick, progress),
};

const STEPS = 20;
const STEP_RECORDS = 500_000;
const STEP_RECORDS_QUICK = 10_000;
const CHAINS_PER_STEP = 20;
const CEILING_MS = 2000;
const CEILING_QUICK_MS = 200;
/** Steps whose middle one stands for the beginning, and for the end. */
const COMPARED = 5;

interface Step extends LoadRun {
  /** What the store holds after it. */
  readonly stored: number;
  readonly ceiling_per_second: number;
  readonly ratio_to_ceiling: number;
  readonly database_mb: number;
}

async function measureGrowth(quick: boolean, progress: (line: string) => void): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-bench-"));
  let relay = await RelayProcess.start(folder);
  const steps: Step[] = [];
  try {
    const threads = availableParallelism();
    const recordsPerChain = (quick ? STEP_RECORDS_QUICK : STEP_RECORDS) / CHAINS_PER_STEP;
    let stored = 0;
    // The first one is for the compiler.
    for (let fleet = 0; fleet <= STEPS; fleet++) {
      progress(`relay-growth: ${figure(stored)} records stored: signing the next`);
      const devices = new Fleet();
      const order = {
        what: "prepare",
        chains: CHAINS_PER_STEP,
        recordsPerChain,
        bodyBytes: BODY_BYTES,
        fleet,
      } as const;
      const prepared = await devices.ask<Prepared>({ ...order, url: relay.url, origin: relay.origin });
      const before = await ceiling(prepared.sample, threads, quick ? CEILING_QUICK_MS : CEILING_MS);
      progress(`relay-growth: ${figure(stored)} records stored: ${figure(prepared.records)} more`);
      const load = await runLoad(relay, devices, prepared, CHAINS_PER_STEP);
      const after = await ceiling(prepared.sample, threads, quick ? CEILING_QUICK_MS : CEILING_MS);
      devices.end();
      stored += prepared.records + CHAINS_PER_STEP;
      const perSecond = Math.round((before + after) / 2);
      if (fleet > 0)
        steps.push({
          ...load,
          stored,
          ceiling_per_second: perSecond,
          ratio_to_ceiling: round(load.records_per_second / perSecond, 3),
          database_mb: Math.round(statSync(join(folder, "relay", "store.sqlite")).size / 2 ** 20),
        });
    }
    progress(`relay-growth: ${figure(stored)} records stored: starting again`);
    const startsMs: number[] = [];
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      await relay.end(signal);
      const beginMs = performance.now();
      relay = await RelayProcess.start(folder);
      startsMs.push(Math.round(performance.now() - beginMs));
      const size = await relay.size();
      if (size !== stored + 1) throw new Error(`expected ${stored + 1} entries after the start, received ${size}`);
    }
    const [startKilledMs, startMs] = startsMs as [number, number];
    const middle = (of: (step: Step) => number, part: readonly Step[]): number => median(part.map(of));
    const growth = (of: (step: Step) => number): number =>
      round(middle(of, steps.slice(-COMPARED)) / middle(of, steps.slice(0, COMPARED)), 3);
    const cpu = growth(({ relay_cpu_us }) => relay_cpu_us);
    const rate = growth(({ ratio_to_ceiling }) => ratio_to_ceiling);
    const lost = steps.reduce((sum, step) => sum + step.lost, 0);
    return {
      json: {
        area: "relay-growth",
        records_stored: stored,
        cpu_growth: cpu,
        rate_growth: rate,
        start_ms: startMs,
        start_killed_ms: startKilledMs,
        rss_mb: at(
          steps.map(({ rss_mb }) => rss_mb).toSorted((a, b) => a - b),
          1,
        ),
        goals: [
          goal("cpu_growth", "at most", 1.1, cpu),
          goal("rate_growth", "at least", 0.9, rate),
          goal("lost", "at most", 0, lost),
        ],
        lost,
        threads,
        steps,
      },
      table: [
        ...tableOf(steps),
        `from the first ${COMPARED} steps to the last: processor time a record × ${figure(cpu)}, share of the ceiling × ${figure(rate)}`,
        `started with ${figure(stored)} records in ${figure(startMs)} ms, in ${figure(startKilledMs)} ms after it was killed`,
      ],
    };
  } catch (error) {
    // Hours may have gone into them.
    if (steps.length > 0) console.error(tableOf(steps).join("\n"));
    throw error;
  } finally {
    await relay.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

function tableOf(steps: readonly Step[]): string[] {
  return [
    "     stored   records/s  of ceiling   p50 ms   p99 ms   CPU us   RSS MB    DB MB",
    ...steps.map((step) =>
      [
        figure(step.stored).padStart(11),
        figure(step.records_per_second).padStart(11),
        figure(step.ratio_to_ceiling).padStart(11),
        ...[step.p50_ms, step.p99_ms, step.relay_cpu_us, step.rss_mb, step.database_mb].map((value) =>
          figure(value).padStart(8),
        ),
      ].join(" "),
    ),
  ];
}
