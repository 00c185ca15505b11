import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { verifyRun } from "tallystick/chain/gap";
import { type Alert, readAlert, readGenesis } from "tallystick/record/payload";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { parsed } from "../device/bench.js";
import { must } from "../relay/started.js";
import { resolve } from "../sampler/resolver.js";
import { findAll, type NaiveBounds, type Sample } from "./naive.js";

/** A BME280 as its driver describes it, at one sample a minute (insight/SPEC.md). */
const BOUNDS: { readonly [name: string]: NaiveBounds } = {
  temperature: { minimum: -40, maximum: 85, stuckMs: 3_600_000, jump: 10, jumpPerMinute: 1 },
  humidity: { minimum: 0, maximum: 100, stuckMs: 3_600_000, jump: 40, jumpPerMinute: 5 },
  pressure: { minimum: 30_000, maximum: 110_000, stuckMs: 3_600_000, jump: 1000, jumpPerMinute: 100 },
};

export interface AuditedAlert extends Alert {
  readonly seq: number;
  readonly id: string;
}

export interface Audit {
  /** Every alert record of the chain, in its order. */
  readonly alerts: readonly AuditedAlert[];
  /** What anyone finds in the chain's readings by the rules, as `quantity word ids`. */
  readonly findings: readonly string[];
  /** The same of the alerts. */
  readonly told: readonly string[];
  readonly readings: number;
  /** Bytes of all records, and of the alerts among them. */
  readonly bytes: number;
  readonly alertBytes: number;
}

/**
 * Reads a whole chain as someone who does not trust the device: signatures and links, then each alert against the readings
 * of the records before it, by a SenML resolver and a reading of the rules that are not the device's.
 */
export function audit(records: readonly Uint8Array[]): Audit {
  const { publicKey } = must(readGenesis(parsed(records[0]!).payload));
  must(verifyRun(relayCrypto, publicKey, records));
  const ids = records.map((bytes) => toHex(recordId(relayCrypto.sha256, bytes)));
  /** Samples by quantity and start, since what was seen is kept in memory alone. */
  const samples = new Map<string, (Sample & { readonly id: string })[]>();
  const alerts: AuditedAlert[] = [];
  let readings = 0;
  let alertBytes = 0;
  for (const [seq, bytes] of records.entries()) {
    const { header, payload } = parsed(bytes);
    if (header.kind === Kind.alert) {
      const alert = must(readAlert(payload));
      alerts.push({ ...alert, seq, id: ids[seq]! });
      alertBytes += bytes.length;
      assert.ok(alert.records.length > 0, `the alert at ${seq} names a record`);
      const at = alert.records.map((id) => ids.indexOf(toHex(id)));
      assert.deepEqual(
        at,
        [...new Set(at)].sort((a, b) => a - b),
        `the alert at ${seq} names records in order, once`,
      );
      for (const named of at) {
        assert.ok(named >= 0 && named < seq, `the alert at ${seq} names a record that came before it`);
        assert.equal(parsed(records[named]!).header.kind, Kind.readings);
      }
    }
    if (header.kind !== Kind.readings) continue;
    for (const { name, value, text, timeS } of resolve(payload, header.uptimeMs / 1000)) {
      readings++;
      const atMs = Math.round(timeS * 1000);
      const key = `${name} ${header.boot}`;
      if (!samples.has(key)) samples.set(key, []);
      if (text !== undefined && text !== "range") continue;
      samples.get(key)!.push({ value: value as number | undefined, atMs, id: ids[seq]! });
    }
  }
  const findings = [...samples].flatMap(([key, course]) => {
    const name = key.split(" ")[0]!;
    return findAll(course, BOUNDS[name]!).map(
      ({ word, names }) => `${name} ${word} ${[...new Set(names.map((n) => course[n]!.id))].join(" ")}`,
    );
  });
  const told = alerts.map(
    ({ quantity, finding, records: named }) => `${quantity} ${finding} ${named.map(toHex).join(" ")}`,
  );
  return { alerts, findings, told, readings, bytes: records.reduce((sum, one) => sum + one.length, 0), alertBytes };
}
