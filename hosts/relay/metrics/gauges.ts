import type { Failure } from "tallystick/codes/codes";
import type { Figures } from "../store/figures.js";
import type { Ladder } from "../store/ladder.js";
import type { Watch } from "../watch/watch.js";
import type { Metrics } from "./metrics.js";

/** The relay's state as figures, looked up at each scrape. */

export interface GaugeParts {
  readonly figures: Figures;
  readonly ladder: Ladder;
  readonly watch: Watch;
  readonly logEntries: () => number;
  readonly nowMs: () => number;
  readonly taking: () => Failure | undefined;
  readonly logTrouble: () => Failure | undefined;
  /** Null where there is no ledger. */
  readonly ledgerTrouble: () => Failure | undefined | null;
}

/** Mark intervals by which devices that are quiet are counted. */
const QUIET_INTERVALS = [1, 2, 3, 5, 10, 30, 100];
const DEVICE_STATES = ["active", "forked", "closed"] as const;

export function addGauges(metrics: Metrics, parts: GaugeParts): void {
  const { figures, ladder, watch, nowMs } = parts;
  const sinceS = (ms: number | undefined): number => (ms === undefined ? 0 : Math.max(0, nowMs() - ms) / 1000);

  metrics.gauge("accepting", "1 while records are taken in", () => Number(parts.taking() === undefined));
  metrics.gauge("log_failing", "1 after a round of the log has failed, until one succeeds", () =>
    Number(parts.logTrouble() !== undefined),
  );
  metrics.gauge("log_entries", "Entries in the newest checkpoint", parts.logEntries);
  metrics.gauge("checkpoint_age_seconds", "Since the newest checkpoint was signed; grows while nothing comes", () =>
    sinceS(figures.newestCheckpointMs()),
  );
  metrics.gauge("unlogged_records", "Records that wait for a checkpoint", () => figures.unlogged().count);
  metrics.gauge("unlogged_age_seconds", "Since the oldest of them was received; 0 where none waits", () =>
    sinceS(figures.unlogged().oldestMs),
  );

  metrics.gauge(
    "ladder_entries",
    "Entries that the newest checkpoint covers that has come to the step",
    () => (["logged", "submitted", "final"] as const).map((step) => [step, ladder.sizeAt(step)] as const),
    "step",
  );
  if (parts.ledgerTrouble() !== null) {
    metrics.gauge("ledger_failing", "1 while something stands in the way of anchoring", () =>
      Number(parts.ledgerTrouble() !== undefined),
    );
    metrics.gauge(
      "ladder_waiting_seconds",
      "Since the oldest checkpoint was signed that has not come to the step; 0 where none waits",
      () => (["submitted", "final"] as const).map((step) => [step, watch.waitingS(step, nowMs())] as const),
      "step",
    );
  }

  metrics.gauge(
    "devices",
    "Devices by state",
    () => {
      const found = figures.devices();
      return DEVICE_STATES.map((state) => [state, found.get(state) ?? 0] as const);
    },
    "state",
  );
  metrics.gauge("devices_held_back", "Keys of which nothing is taken until an operator decides", () =>
    figures.heldBack(),
  );
  metrics.gauge("fork_records", "Second branches of forks that are kept", () => figures.forks());
  metrics.gauge("gap_records_waiting", "Gap records that wait for their own position", () => figures.gapsWaiting());
  metrics.gauge("chains_with_holes", "Chains that lack positions below their head", () => figures.missing().size);
  metrics.gauge("missing_positions", "Positions that chains lack below their heads", () =>
    [...figures.missing().values()].reduce((sum, count) => sum + count, 0),
  );
  metrics.gauge("devices_watched", "Devices of which records are to come", () => watch.fleet.size);
  metrics.gauge(
    "devices_quiet",
    "Devices that were not heard for more than so many of their mark intervals",
    () => {
      const quiet = [...watch.fleet.quiet(nowMs())].map(({ quietS, markIntervalS }) => quietS / markIntervalS);
      return QUIET_INTERVALS.map((intervals) => [String(intervals), quiet.filter((each) => each > intervals).length]);
    },
    "intervals",
  );
  metrics.gauge("device_quiet_seconds_max", "Since the device was heard that is quiet for the longest", () => {
    let longestS = 0;
    for (const { quietS } of watch.fleet.quiet(nowMs())) longestS = Math.max(longestS, quietS);
    return longestS;
  });
}
