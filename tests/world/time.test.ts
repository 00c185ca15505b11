import assert from "node:assert/strict";
import fc from "fast-check";
import { seededEntropy, systemEntropy } from "../../hosts/simulator/world/entropy.js";
import { VirtualTime, WallTime } from "../../hosts/simulator/world/time.js";

describe("virtual time", () => {
  it("calls back in order of time, then of asking, whatever was cancelled", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(50), cancel: fc.boolean() }), { maxLength: 60 }),
        async (plan) => {
          const time = new VirtualTime(0);
          const seen: number[] = [];
          const cancels = plan.map(({ at }, index) => time.at(at, () => void seen.push(index)));
          for (const [index, { cancel }] of plan.entries()) if (cancel) cancels[index]!();
          await time.run(100);
          const expected = plan
            .map(({ at, cancel }, index) => ({ at, cancel, index }))
            .filter(({ cancel }) => !cancel)
            .sort((a, b) => a.at - b.at || a.index - b.index)
            .map(({ index }) => index);
          assert.deepEqual(seen, expected);
          assert.equal(time.nowMs(), 100);
        },
      ),
    );
  });

  it("stands still while a callback waits for something real", async () => {
    const time = new VirtualTime(1_000);
    const seen: number[] = [];
    time.at(2_000, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      seen.push(time.nowMs());
    });
    time.at(2_001, () => void seen.push(time.nowMs()));
    await time.run(1_999);
    assert.deepEqual([seen, time.nowMs()], [[], 1_999]);
    await time.run(5_000);
    assert.deepEqual(seen, [2_000, 2_001]);
  });

  it("takes what has passed as now, and stops when told", async () => {
    const time = new VirtualTime(500);
    const seen: number[] = [];
    time.at(3, () => void seen.push(time.nowMs()));
    time.at(600, () => void seen.push(time.nowMs()));
    time.at(700, () => void seen.push(time.nowMs()));
    await time.run(1_000, () => seen.length === 2);
    assert.deepEqual([seen, time.nowMs()], [[500, 600], 600]);
  });

  it("finds out where time does not pass", async () => {
    const time = new VirtualTime(0);
    const again = () => void time.at(0, again);
    again();
    await assert.rejects(time.run(1), /time does not pass/);
  });
});

describe("wall time", () => {
  it("is never early, and cancels", async () => {
    const time = new WallTime();
    const fromMs = time.nowMs();
    let cancelled = false;
    time.at(fromMs + 5, () => {
      cancelled = true;
    })();
    await new Promise<void>((resolve) => time.at(fromMs + 20, () => resolve()));
    assert.ok(time.nowMs() >= fromMs + 20);
    assert.equal(cancelled, false);
    assert.ok(Math.abs(fromMs - Date.now()) < 10_000);
  });
});

describe("entropy", () => {
  it("repeats by its seed, and says so; the system's does not", () => {
    const [a, b, c] = [seededEntropy("1"), seededEntropy("1"), seededEntropy("2")];
    assert.equal(a.reproducible, true);
    const bytes = a.bytes(100);
    assert.deepEqual(bytes, new Uint8Array([...b.bytes(33), ...b.bytes(67)]), "however it is asked for");
    assert.notDeepEqual(bytes, c.bytes(100));
    assert.equal(systemEntropy.reproducible, false);
    assert.notDeepEqual(systemEntropy.bytes(32), systemEntropy.bytes(32));
  });
});
