import { fromHex, toHex } from "tallystick/bytes/bytes";
import type { KeyStore } from "tallystick/identity/crypto";
import { isAcceptablePublicKey } from "tallystick/identity/ed25519";
import { writeMaker, writeToken } from "tallystick/sync/enrolment";
import { type RelayPinsText, writeRelayPins } from "tallystick/sync/relay-pins";

/**
 * Provisioning of a board: a table for ESP-IDF's own NVS generator, whose image is flashed once over the empty key
 * store. An act of its own, by a person: firmware that carried a token would make a new key whenever its store is lost.
 */

/** Namespace of the board's key store (hosts/esp32/platform.ts). */
const NAMESPACE = "tallystick";

/** What the relay tells of itself, to be pinned, and the leave to enrol there. */
export interface Provisioning extends RelayPinsText {
  /** The enrolment token, as `tallystick enrol` prints it; for a relay that is open to all, any text. */
  readonly token?: string;
  /** Leave to make a key and wait for the maker's statement. */
  readonly awaitMaker?: boolean;
}

/** CSV with the columns key, type, encoding, value. */
export function provisioningTable({ token, awaitMaker, ...pins }: Provisioning): string {
  const rows: string[] = [];
  // As the device would write them into its own store.
  const keys: KeyStore = {
    read: () => undefined,
    write: (key, value) => void rows.push(`${key},data,hex2bin,${toHex(value)}`),
    delete: () => undefined,
  };
  writeRelayPins(keys, pins);
  if (token !== undefined) writeToken(keys, new TextEncoder().encode(token));
  if (awaitMaker) writeMaker(keys, "awaited");
  return ["key,type,encoding,value", `${NAMESPACE},namespace,,`, ...rows, ""].join("\n");
}

/** What the relay at `url` says of itself. Throws one line that says what to do. */
export async function fetchPins(url: string): Promise<RelayPinsText> {
  let answer: unknown;
  try {
    const response = await fetch(new URL("/v1/relay", url), { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    answer = await response.json();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the relay at ${url} cannot be asked (${reason}); start it, or correct the address`);
  }
  const { origin, log_key, generation = 0, ...keys } = answer as Readonly<Record<string, unknown>>;
  const [deviceKey, recoveryKey] = [publicKeyOf(keys["device_key"]), publicKeyOf(keys["recovery_key"])];
  if (typeof origin !== "string" || typeof log_key !== "string" || !deviceKey)
    throw new Error(`what answers at ${url} is no relay: expected origin, device_key and log_key`);
  // Left out, it could be made up for by no statement: what is there and not understood must not pass for none.
  if (typeof generation !== "number" || (keys["recovery_key"] !== undefined && !recoveryKey))
    throw new Error(`the relay at ${url} tells a generation or recovery_key that is none: update this program`);
  return { origin, deviceKey, logKey: log_key, ...(recoveryKey && { recoveryKey }), ...(generation && { generation }) };
}

/** The key of 64 hexadecimal digits; undefined for anything else, and for a key that the one rule never accepts. */
function publicKeyOf(value: unknown): Uint8Array | undefined {
  const key = typeof value === "string" ? fromHex(value) : undefined;
  return key && isAcceptablePublicKey(key) ? key : undefined;
}
