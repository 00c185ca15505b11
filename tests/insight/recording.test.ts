import assert from "node:assert/strict";
import type { Failure } from "tallystick/codes/codes";
import { ALERT_WAITING_MAX, Recording } from "tallystick/device/recording";
import { Insight } from "tallystick/insight/insight";
import { Journal } from "tallystick/journal/journal";
import { KIND_WORDS, Kind } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { NorFlash } from "../../hosts/simulator/world/nor.js";
import { pack } from "../device/recorder.js";
import { MemoryKeys } from "../fixtures/device.js";
import { mounted, must, quickSigner } from "../journal/rig.js";
import { VirtualBoard } from "../sampler/virtual.js";

const MINUTE = 60_000;
const READINGS = 8 + 6 * 3;

describe("what waits to be committed", () => {
  it("is never made more by alerts where readings need the room, and has them behind all of it", async () => {
    const flash = new NorFlash({ sizeBytes: 16 * 4096, writeUnitBytes: 1 });
    must(Journal.format(flash));
    const signer = quickSigner("recording");
    const journal = mounted(flash, signer);
    const clock = new VirtualBoard();
    const quantities = Array.from({ length: 6 }, (_, i) => ({
      ...{ name: `t${i}`, unit: "Cel", kind: "thermometer", step: 1 / 128, noise: 0.005 },
      range: [-40, 85] as const,
    }));
    const insight = new Insight({ quantities });
    const problems: Failure[] = [];
    const words: string[] = [];
    let isOpen = false;
    let made = 0;
    let mostWaiting = 0;
    const recording = new Recording({
      platform: {
        clock,
        crypto: relayCrypto,
        firmware: { version: "0", sha256: new Uint8Array(32) },
        flash,
        keys: new MemoryKeys(),
        resetReason: 1,
      },
      options: {
        onRecord: ({ kind }) => {
          words.push(KIND_WORDS[kind]);
          mostWaiting = Math.max(mostWaiting, recording.waiting.length);
          // Readings come in bursts, each of which fills the queue.
          if (!isOpen || recording.waiting.length > 5 || made >= READINGS) return;
          for (let n = 0; n < 3; n++) assert.ok(read(), `reading ${made} was refused`);
        },
      },
      insight,
      isOpen: () => isOpen,
      handshake: () => undefined,
      onCommitted: () => {},
      onLevel: () => {},
      onProblem: (failure) => problems.push(failure),
      log: () => {},
    });
    const read = (): boolean => {
      clock.run(MINUTE);
      // Each quantity jumps there and back all the time.
      const value = made++ % 2 === 0 ? 20 : 60;
      const uptimeMs = clock.uptimeMs();
      const holder = insight.examine(quantities.map(({ name }) => ({ name, value, uptimeMs })));
      const added = recording.add({ kind: Kind.readings, payload: pack(value), uptimeMs, clock: 0, holder });
      if (added) recording.commitNext();
      return added;
    };
    recording.open(journal, signer.kid, undefined);
    must(recording.append(Kind.genesis, pack(1)));
    for (let n = 0; n < 8; n++) assert.ok(read());
    isOpen = true;
    recording.commitWaiting();
    await recording.idle();
    assert.deepEqual(problems, []);
    assert.equal(mostWaiting, 7, "the queue was full");
    const first = words.indexOf("alert");
    assert.ok(first > READINGS - ALERT_WAITING_MAX, words.join(" "));
    assert.equal(words.filter((word) => word === "readings").length, READINGS);
    // Two of each quantity within the hour.
    assert.equal(words.filter((word) => word === "alert").length, 2 * quantities.length);
  });
});
