import { beaconOf, dateOf, isBackdated } from "tallystick/evidence/dating";
import type { Record } from "tallystick/record/record";
import type { Store } from "./store/store.js";

/**
 * Records that are dated before their chain's newest beacon (modules/evidence/SPEC.md, Dates). They are taken in as any
 * other, and told of: what the device signed is kept, whatever it says of time.
 */

export interface Contradiction {
  /** What the record states, milliseconds since 1970. */
  readonly datedMs: number;
  /** Before when it cannot have been signed. */
  readonly notBeforeMs: number;
}

export interface Backdated extends Contradiction {
  readonly seq: number;
  readonly id: Uint8Array;
}

/** A record that enters a chain; `datedMs` where its examination has found its date already. */
export interface Entering {
  readonly record: Record;
  readonly id: Uint8Array;
  readonly datedMs?: number | undefined;
}

/**
 * Notes the beacons of records that enter a chain whose head was at `headSeq`, and tells which are backdated. Call inside
 * `Store.transaction`, with `nowMs` as the time of their receipt.
 */
export function noteDates(
  store: Store,
  device: number,
  headSeq: number,
  entering: readonly Entering[],
  nowMs: number,
): Backdated[] {
  const found: Backdated[] = [];
  // Of what stands behind the head it is asked for once, since nothing is between that is not of this batch; else anew.
  let newest: { readonly ms: number | undefined } | undefined;
  for (const { record, id, datedMs = dateOf(record) } of entering) {
    const { seq } = record.header;
    const beaconMs = timeOfBeacon(store, record, nowMs);
    if (beaconMs !== undefined) {
      store.beacons.raise(device, seq, beaconMs);
      newest = undefined;
    }
    if (datedMs === undefined) continue;
    newest ??= { ms: store.beacons.latest(device, seq)?.notBeforeMs };
    const contradiction = contradictionOf(datedMs, newest.ms, nowMs);
    if (seq <= headSeq) newest = undefined;
    if (contradiction) found.push({ seq, id, ...contradiction });
  }
  return found;
}

/** Of a record that is held: what its date contradicts; undefined where nothing. */
export function backdating(store: Store, device: number, record: Record, receivedAtMs: number) {
  const datedMs = dateOf(record);
  if (datedMs === undefined) return undefined;
  return contradictionOf(datedMs, store.beacons.latest(device, record.header.seq)?.notBeforeMs, receivedAtMs);
}

/** A beacon that was not there when the record came is none: the relay's clock was set back in between. */
function contradictionOf(
  datedMs: number,
  notBeforeMs: number | undefined,
  receivedAtMs: number,
): Contradiction | undefined {
  if (notBeforeMs === undefined || notBeforeMs > receivedAtMs) return undefined;
  return isBackdated(datedMs, notBeforeMs) ? { datedMs, notBeforeMs } : undefined;
}

/**
 * Before when a mark's beacon was not there: by this relay's own word, and by the device's where that is later and has
 * passed. A tree that this relay does not know says nothing.
 */
function timeOfBeacon({ beacons }: Store, record: Record, nowMs: number): number | undefined {
  const beacon = beaconOf(record);
  const signedMs = beacon && beacons.signedAfter({ size: beacon.logSize, root: beacon.logRoot });
  if (beacon === undefined || signedMs === undefined) return undefined;
  const times = [signedMs, beacon.timeS * 1000].filter((ms) => ms > 0 && ms <= nowMs);
  return times.length > 0 ? Math.max(...times) : undefined;
}
