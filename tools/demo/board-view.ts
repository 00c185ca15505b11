import { measuredText } from "../reading.js";
import type { DemoBoard } from "./boards.js";
import { type BoardView, emptyLadder } from "./ladder.js";
import type { DeviceStatus, ReadingStatus, RelayView } from "./relay-view.js";

/** What is known of a board, from its own lines and from the relay. */

/** A board of which nothing is known yet. */
export function newView({ label, sensor }: DemoBoard): BoardView {
  return {
    label,
    sensor,
    kid: undefined,
    ladder: emptyLadder(),
    newest: "",
    problem: undefined,
    resumedSeq: -1,
    crashes: 0,
    over: undefined,
  };
}

/** A board's own log, as modules/device prints it: `label: event=… key=value …`. */
export function onBoardLine(view: BoardView, line: string): void {
  const fields = new Map([...line.matchAll(/([a-z]+)=(\S+)/g)].map(([, name, value]) => [name!, value!]));
  switch (fields.get("event")) {
    case "held":
      view.ladder.held = Number(fields.get("seq")) + 1;
      break;
    case "acknowledged":
      view.problem = undefined;
      break;
    case "resumed":
      // The first of this run: what a board resumes after a crash is of this run too.
      if (view.kid === undefined) {
        view.resumedSeq = Number(fields.get("seq"));
        view.ladder.held = view.resumedSeq + 1;
      }
      view.kid = fields.get("kid");
      break;
    case "key":
      view.kid = fields.get("kid");
      break;
    case "problem":
      // `event=problem code=CODE CODE: meaning …`
      view.problem = line.slice(line.indexOf("code=")).replace(/^code=\S+ /, "");
  }
}

/** A start of a board that ended in a crash; `forGood` where it crashed too often and stays off. */
export function onBoardCrash(view: BoardView, what: string, forGood: boolean): void {
  view.crashes++;
  view.problem = what;
  if (forGood) view.over = what;
}

/** A board that was turned on and says neither its key nor its head has refused to start, and says so once. */
export function seeRefusal(view: BoardView): void {
  if (view.kid === undefined && view.crashes === 0) view.over = view.problem;
}

/**
 * Asks the relay how far a board's records have climbed. Undefined where it does not know the board or does not answer:
 * then the view stays as it is.
 */
export async function look(relay: RelayView, view: BoardView): Promise<DeviceStatus | undefined> {
  const status = view.kid === undefined ? undefined : await relay.device(view.kid);
  if (!status?.received) return status;
  for (const step of ["received", "logged", "submitted", "final"] as const)
    view.ladder[step] = status[step]?.count ?? 0;
  // What the relay holds, the board held; its own lines may come a moment later.
  view.ladder.held = Math.max(view.ladder.held, view.ladder.received);
  const newest = await relay.record(status.received.id).catch(() => undefined);
  if (newest?.readings) view.newest = newestText(newest.readings);
  return status;
}

/** The last value of each quantity, temperature first: units tell them apart where a terminal is narrow. */
function newestText(readings: readonly ReadingStatus[]): string {
  const newest = new Map(readings.map((reading) => [reading.name, reading]));
  return [...newest.values()]
    .sort((a, b) => Number(b.name === "temperature") - Number(a.name === "temperature"))
    .map(({ unit, value, fault }) => measuredText({ unit, value: value ?? { fault: fault ?? "" } }))
    .join("  ");
}
