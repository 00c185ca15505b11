import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Clock, ClockState, type Timers } from "tallystick/clock/clock";
import { type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { recordId } from "tallystick/record/record";
import type { ChainStore } from "tallystick/sync/chain-store";
import { writeToken } from "tallystick/sync/enrolment";
import { readRelayPins, writeRelayPins } from "tallystick/sync/relay-pins";
import { Sync } from "tallystick/sync/sync";
import type { Transport } from "tallystick/sync/transport";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { must, StartedRelay } from "./started.js";

const LEVEL_MAX_MS = 20_000;

/** The device's half of the protocol, modules/sync itself, against this relay. */
describe("relay: with a device's own sync", () => {
  let started: StartedRelay;

  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());

  /** A device whose chain is a fixture's and whose sync is the real one. */
  function connect(device: FixtureDevice, keys: MemoryKeys) {
    const problems: Failure[] = [];
    let released = -1;
    let heard: (() => void) | undefined;
    const idOf = (seq: number) => recordId(relayCrypto.sha256, device.chain[seq]!);
    const chain: ChainStore = {
      get head() {
        return { seq: device.head.seq, id: device.head.id };
      },
      firstSeq: 0,
      record: (seq) =>
        device.chain[seq] ? ok(device.chain[seq]) : fail("RECORD_UNKNOWN", `seq ${seq} is not in the chain`),
      restore: (bytes) => ok(device.adopt(bytes)),
      release: ({ seq, id }): Result<void> => {
        assert.deepEqual(id, idOf(seq));
        released = seq;
        return ok(undefined);
      },
    };
    const sync = new Sync({
      identity: device.identity,
      crypto: relayCrypto,
      keys,
      entropy: { bytes: (length) => new Uint8Array(randomBytes(length)) },
      clock: wallClock(),
      timers: nodeTimers,
      transport: httpTransport(() => started.url),
      relay: must(readRelayPins(keys, relayCrypto.sha256)),
      chain,
      pollMs: 20,
      onReady: () => undefined,
      onHold: () => assert.fail("the relay claims what it cannot have"),
      onSuccession: () => assert.fail("the chain goes on"),
      onAcknowledged: () => heard?.(),
      onProblem: (failure) => problems.push(failure),
    });
    /** Resolves once the journal may let go of `seq`. */
    const releasedTo = async (seq: number): Promise<void> => {
      const deadline = Date.now() + LEVEL_MAX_MS;
      while (released < seq) {
        assert.ok(Date.now() < deadline, `released ${released} of ${seq}: ${JSON.stringify(problems)}`);
        await new Promise<void>((resolve) => {
          heard = resolve;
          setTimeout(resolve, 200).unref();
        });
      }
    };
    return { sync, problems, releasedTo };
  }

  function provision(): MemoryKeys {
    const { origin, logKey } = started.relay.identity;
    const keys = new MemoryKeys();
    writeRelayPins(keys, { origin, deviceKey: started.key, logKey });
    writeToken(keys, new Uint8Array(Buffer.from(started.token())));
    return keys;
  }

  it("enrols, sends, pins each checkpoint and releases what is logged, over a restart of the relay", async () => {
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReadings(50);
    const { sync, problems, releasedTo } = connect(device, provision());
    must(sync.start());
    await releasedTo(50);
    device.appendReadings(7);
    sync.wake();
    await releasedTo(57);
    assert.deepEqual(problems, []);
    await started.restart();
    device.appendReadings(2);
    sync.wake();
    await releasedTo(59);
    sync.close();
  });

  it("gives a device that lost its flash its own records back", async () => {
    const seed = new Uint8Array(randomBytes(32));
    const keys = provision();
    const device = new FixtureDevice({ crypto: relayCrypto, seed });
    device.appendReadings(20);
    const first = connect(device, keys);
    must(first.sync.start());
    await first.releasedTo(20);
    first.sync.close();

    const restored = new FixtureDevice({ crypto: relayCrypto, seed });
    const second = connect(restored, keys);
    must(second.sync.start());
    await second.releasedTo(20);
    second.sync.close();
    assert.deepEqual(
      restored.chain,
      device.chain.map((bytes) => new Uint8Array(bytes)),
    );
  });
});

function wallClock(): Clock {
  return {
    uptimeMs: () => Math.floor(performance.now()),
    wallMs: () => Date.now(),
    state: ClockState.network,
    set: () => undefined,
  };
}

const nodeTimers: Timers = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

function httpTransport(url: () => string): Transport {
  return {
    async request({ method, path, body, maxResponseBytes }) {
      try {
        const response = await fetch(`${url()}${path}`, {
          method,
          ...(body && { body: Buffer.from(body), headers: { "content-type": "application/cbor" } }),
        });
        const bytes = new Uint8Array(await response.arrayBuffer());
        if (bytes.length > maxResponseBytes) return fail("TRANSPORT_FAILED", "the answer is too long");
        return ok({ status: response.status, body: bytes });
      } catch (error) {
        return fail("TRANSPORT_FAILED", String(error));
      }
    },
  };
}
