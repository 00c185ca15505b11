import { fromHex, toHex } from "tallystick/bytes/bytes";
import type { KeyStore } from "tallystick/identity/crypto";
import { writeMaker, writeToken } from "tallystick/sync/enrolment";
import { writeRelayPins } from "tallystick/sync/relay-pins";

/**
 * Provisioning of a board: a table for ESP-IDF's own NVS generator, whose image is flashed once over the empty key
 * store. An act of its own, by a person: firmware that carried a token would make a new key whenever its store is lost.
 */

/** Namespace of the board's key store (hosts/esp32/platform.ts). */
const NAMESPACE = "tallystick";

export interface Provisioning {
  /** What the relay tells of itself: its name, its device-facing key, its log's verifier key. */
  readonly origin: string;
  readonly deviceKey: Uint8Array;
  readonly logKey: string;
  /** The enrolment token, as `tallystick enrol` prints it; for a relay that is open to all, any text. */
  readonly token?: string;
  /** Leave to make a key and wait for the maker's statement. */
  readonly awaitMaker?: boolean;
}

/** CSV with the columns key, type, encoding, value. */
export function provisioningTable({ origin, deviceKey, logKey, token, awaitMaker }: Provisioning): string {
  const rows: string[] = [];
  // As the device would write them into its own store.
  const keys: KeyStore = {
    read: () => undefined,
    write: (key, value) => void rows.push(`${key},data,hex2bin,${toHex(value)}`),
    delete: () => undefined,
  };
  writeRelayPins(keys, { origin, deviceKey, logKey });
  if (token !== undefined) writeToken(keys, new TextEncoder().encode(token));
  if (awaitMaker) writeMaker(keys, "awaited");
  return ["key,type,encoding,value", `${NAMESPACE},namespace,,`, ...rows, ""].join("\n");
}

/** What the relay at `url` says of itself. Throws one line that says what to do. */
export async function fetchPins(url: string): Promise<Pick<Provisioning, "origin" | "deviceKey" | "logKey">> {
  let answer: unknown;
  try {
    const response = await fetch(new URL("/v1/relay", url), { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    answer = await response.json();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the relay at ${url} cannot be asked (${reason}); start it, or correct the address`);
  }
  const { origin, device_key, log_key } = answer as { origin?: unknown; device_key?: unknown; log_key?: unknown };
  const deviceKey = typeof device_key === "string" ? fromHex(device_key) : undefined;
  if (typeof origin !== "string" || typeof log_key !== "string" || deviceKey?.length !== 32)
    throw new Error(`what answers at ${url} is no relay: expected origin, device_key and log_key`);
  return { origin, deviceKey, logKey: log_key };
}
