import assert from "node:assert/strict";
import { type Clock, ClockState, type Timers } from "tallystick/clock/clock";
import { Identity } from "tallystick/identity/identity";
import { type Acknowledgement, makeAcknowledgement } from "tallystick/sync/messages";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import type { VirtualTime } from "../../hosts/simulator/world/time.js";
import { type FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { memoryLog } from "../fixtures/memory-log.js";
import { must } from "../relay/started.js";

/** The relay's half of a talk, in memory: one log of eight entries, one device-facing key. Its word is whatever a test says. */

const ORIGIN = "relay.example/sync";
export const NOW_MS = Date.UTC(2026, 10, 23);

const log = memoryLog(
  ORIGIN,
  new Uint8Array(32).fill(3),
  Array.from({ length: 8 }, (_, i) => Uint8Array.of(i)),
);
export const relay = must(
  Identity.create({
    keys: new MemoryKeys(),
    crypto: relayCrypto,
    entropy: { bytes: () => new Uint8Array(32).fill(4) },
  }),
);

export function acknowledge(
  device: FixtureDevice,
  { nonce, pinnedSize }: { readonly nonce: Uint8Array; readonly pinnedSize: number },
  word: Partial<Pick<Acknowledgement, "received" | "logged" | "final" | "erasedSeq">>,
): Uint8Array {
  return makeAcknowledgement(
    relay.kid,
    {
      kid: device.identity.kid,
      nonce,
      ...word,
      checkpoint: log.checkpoint(8),
      consistency: pinnedSize === 0 ? [] : log.consistency(pinnedSize, 8),
      pinnedSize,
      timeMs: NOW_MS,
    },
    (bytes) => must(relay.sign(bytes)),
  );
}

export function pinned(keys: MemoryKeys): MemoryKeys {
  writeRelayPins(keys, { origin: ORIGIN, deviceKey: relay.publicKey, logKey: log.vkey });
  return keys;
}

export function clockOf(time: VirtualTime): Clock {
  return {
    uptimeMs: () => time.nowMs() - NOW_MS,
    wallMs: () => time.nowMs(),
    state: ClockState.network,
    set: () => assert.fail("the network's time is better than the relay's"),
  };
}

/** Timers in virtual time; what a callback sets off in promises is over before time goes on. */
export function timersOf(time: VirtualTime): Timers {
  return {
    after(delayMs, callback) {
      const cancel = time.at(time.nowMs() + Math.ceil(delayMs), async () => {
        callback();
        await new Promise((resolve) => setImmediate(resolve));
      });
      return { cancel };
    },
  };
}
