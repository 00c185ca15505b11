import assert from "node:assert/strict";
import { type Clock, ClockState, type Timers } from "tallystick/clock/clock";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { recordId } from "tallystick/record/record";
import type { ChainStore } from "tallystick/sync/chain-store";
import { writeToken } from "tallystick/sync/enrolment";
import { readRelayPins, writeRelayPins } from "tallystick/sync/relay-pins";
import { Sync } from "tallystick/sync/sync";
import type { Transport } from "tallystick/sync/transport";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { systemEntropy } from "../../hosts/relay/keys.js";
import type { Relay } from "../../hosts/relay/relay.js";
import { type FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { must, type StartedRelay } from "../relay/started.js";

/** A device's waits pass so much faster here than its records say. */
const SPEED = 50;
const ASK_AGAIN_MS = 10;

/** A device whose chain is a fixture's and whose sync is the real one, over any transport. */
export class SyncingDevice {
  readonly problems: Failure[] = [];
  released = -1;
  readonly #sync: Sync;

  constructor(device: FixtureDevice, keys: MemoryKeys, transport: Transport) {
    const chain: ChainStore = {
      get head() {
        return { seq: device.head.seq, id: device.head.id };
      },
      firstSeq: 0,
      record: (seq) =>
        device.chain[seq] ? ok(device.chain[seq]) : fail("RECORD_UNKNOWN", `seq ${seq} is not in the chain`),
      restore: (bytes) => ok(device.adopt(bytes)),
      release: ({ seq, id }): Result<void> => {
        assert.deepEqual(id, recordId(relayCrypto.sha256, device.chain[seq]!));
        this.released = seq;
        return ok(undefined);
      },
    };
    this.#sync = new Sync({
      identity: device.identity,
      crypto: relayCrypto,
      keys,
      entropy: systemEntropy,
      clock: wallClock,
      timers: fastTimers,
      transport,
      relay: must(readRelayPins(keys, relayCrypto.sha256)),
      chain,
      pollMs: 20 * SPEED,
      onReady: () => undefined,
      onHold: () => assert.fail("the relay claims what it cannot have"),
      onSuccession: () => assert.fail("the chain goes on"),
      onAcknowledged: () => undefined,
      onProblem: (failure) => this.problems.push(failure),
    });
    must(this.#sync.start());
  }

  get codes(): ReadonlySet<string> {
    return new Set(this.problems.map(({ code }) => code));
  }

  /** Resolves once the journal may let go of `seq`: the relay has signed that it is logged. */
  async releasedTo(seq: number, maxMs = 50_000): Promise<void> {
    const deadline = Date.now() + maxMs;
    while (this.released < seq) {
      const last = JSON.stringify(this.problems.slice(-3));
      assert.ok(Date.now() < deadline, `released ${this.released} of ${seq}: ${last}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  close(): void {
    this.#sync.close();
  }
}

/** A blank key store with the relay's pins and leave to enrol. */
export function provision(started: StartedRelay): MemoryKeys {
  const keys = new MemoryKeys();
  writeRelayPins(keys, started.pins);
  writeToken(keys, new Uint8Array(Buffer.from(started.token())));
  return keys;
}

/** The relay has the chain of `device`: each record once, at its place, its bytes, all of it logged, and no fork. */
export function checkHeld(relay: Relay, device: FixtureDevice): void {
  const { store, log } = relay;
  const stored = store.deviceByKid(device.identity.kid);
  assert.ok(stored, "the relay knows the device");
  assert.deepEqual(store.forks(stored.device), []);
  const held = [...store.recordsBetween(stored.device, 0, Number.MAX_SAFE_INTEGER)];
  assert.equal(held.length, device.chain.length, "as many records as the device has");
  for (const [seq, bytes] of device.chain.entries()) {
    assert.equal(held[seq]!.seq, seq);
    assert.ok(Buffer.from(bytes).equals(held[seq]!.bytes), `record ${seq} has the device's bytes`);
  }
  assert.equal(store.lastInLog(stored.device, log.head.size)?.seq, device.head.seq, "the newest is in a checkpoint");
}

const wallClock: Clock = {
  uptimeMs: () => Math.floor(performance.now()),
  wallMs: () => Date.now(),
  state: ClockState.network,
  set: () => undefined,
};

const fastTimers: Timers = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs / SPEED);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** HTTP with a place for what can happen to a request. */
export function httpTransport(
  url: () => string,
  around: (send: () => Promise<Response>) => Promise<Response>,
): Transport {
  return {
    async request({ method, path, body, maxResponseBytes }) {
      const init = body && { body: Buffer.from(body), headers: { "content-type": "application/cbor" } };
      try {
        const response = await around(() => fetch(`${url()}${path}`, { method, ...init }));
        const bytes = new Uint8Array(await response.arrayBuffer());
        if (bytes.length > maxResponseBytes) return fail("TRANSPORT_FAILED", "the answer is too long");
        const seconds = response.headers.get("retry-after");
        return ok({ status: response.status, body: bytes, ...(seconds !== null && { retryAfterS: Number(seconds) }) });
      } catch (error) {
        return fail("TRANSPORT_FAILED", String(error));
      }
    },
  };
}
