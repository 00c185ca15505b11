import assert from "node:assert/strict";
import { utf8 } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import type { VerifierKey } from "tallystick/log/note";
import { originHash } from "tallystick/log/witness";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Witness } from "../../hosts/relay/witness/witness.js";
import { MemoryDisk, type Moment, PowerCut, seeded } from "../log/disk.js";
import { AnyLog, must, ORIGIN } from "./fixture.js";

/**
 * A log that has two histories and tries each of them on a witness whose disk fails or whose power goes at every step.
 * Whatever the witness gave out, in an answer or by showing it, must be of one history.
 */
const HONEST = new AnyLog();
const OTHER = new AnyLog(ORIGIN, 1, "!", 3);
/** Sizes that the log asks for, one after the other; the histories part after entry 3. */
const SIZES = [2, 3, 5, 8];
const FOLDER = "/witness";
const LARGEST = 8;

/** All that a witness ever gave out: the checkpoint's text by its size, and a note with its line. */
class Given {
  readonly notes: { readonly size: number; readonly checkpoint: Uint8Array }[] = [];
  key: VerifierKey | undefined;

  /** Every pair is consistent. Of equal sizes that is the same root, else the tree of the one is the other's beginning. */
  check(label: string): void {
    const histories = [HONEST, OTHER].filter((history) =>
      this.notes.every(({ size, checkpoint }) => {
        const opened = must(openCheckpoint(relayCrypto, checkpoint, HONEST.key, [this.key!]));
        assert.equal(opened.cosignatures.length, 1, label);
        assert.equal(opened.size, size, label);
        return Buffer.compare(opened.root, history.tree(size).root) === 0;
      }),
    );
    assert.ok(histories.length > 0, `${label}: two histories were cosigned`);
  }
}

async function open(disk: MemoryDisk): Promise<Witness> {
  must(await Witness.create({ disk, crypto: relayCrypto, folder: FOLDER, entropy }, "witness.example/w1"));
  return must(
    await Witness.open({
      disk,
      crypto: relayCrypto,
      folder: FOLDER,
      logs: [HONEST.key],
      nowMs: () => 1_790_000_000_000,
    }),
  );
}

const entropy = { bytes: (length: number) => new Uint8Array(length).fill(5) };

/** Asks until the witness answers otherwise than that its disk failed; undefined where it refuses this history. */
async function ask(witness: Witness, history: AnyLog, size: number, given: Given, onIo: () => void): Promise<boolean> {
  given.key = witness.key;
  let oldSize = 0;
  for (let attempt = 0; attempt < 6; attempt++) {
    const answer = await witness.add(history.request(Math.min(oldSize, size), size));
    // What it shows it has given out, too.
    const shown = witness.newest(originHash(relayCrypto.sha256, ORIGIN));
    if (shown) given.notes.push({ size: Number(Buffer.from(shown).toString().split("\n")[1]), checkpoint: shown });
    if ("cosignature" in answer) {
      const checkpoint = new Uint8Array([...history.checkpoint(size), ...utf8(answer.cosignature)]);
      given.notes.push({ size, checkpoint });
      return true;
    }
    if ("heldSize" in answer) {
      if (answer.heldSize > size) return false;
      oldSize = answer.heldSize;
      continue;
    }
    if (answer.failure.code === "WITNESS_PROOF_FALSE") return false;
    assert.equal(answer.failure.code, "WITNESS_IO_FAILED", answer.failure.detail);
    onIo();
  }
  throw new Error("it does not come to an answer");
}

/** The first history, as far as it gets, then the other one, then both in turn. */
async function attack(disk: MemoryDisk, given: Given, first: AnyLog, onIo: () => void): Promise<boolean> {
  try {
    const witness = await open(disk);
    const second = first === HONEST ? OTHER : HONEST;
    for (const size of SIZES) {
      await ask(witness, first, size, given, onIo);
      await ask(witness, second, size, given, onIo);
    }
    return true;
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error;
    return false;
  }
}

const never = () => assert.fail("the disk did not fail");

/** Only writes and syncs can be half done. */
function momentsOf(step: string): Moment[] {
  return /^(write|syncFolder) /.test(step) ? ["before", "half", "after"] : ["before", "after"];
}

describe("witness: power cuts and disk faults at every step", function () {
  this.timeout(120_000);
  let trace: readonly string[] = [];

  before(async () => {
    const [disk, given] = [new MemoryDisk(), new Given()];
    assert.ok(await attack(disk, given, HONEST, never));
    given.check("whole");
    trace = disk.trace;
    const kinds = new Set(trace.map((line) => line.split(" ")[0]));
    assert.deepEqual([...kinds].sort(), ["makeFolder", "rename", "syncFolder", "write"]);
    assert.ok(trace.length > 20);
    assert.ok(given.notes.some(({ size }) => size === LARGEST));
  });

  it("the checker finds two histories where they are: the fixture would else prove nothing", async () => {
    const [disk, given] = [new MemoryDisk(), new Given()];
    const witness = await open(disk);
    assert.ok(await ask(witness, HONEST, 8, given, never));
    // A witness that has lost its memory, as only a person can make it do.
    const forgetful = await open(new MemoryDisk());
    assert.ok(await ask(forgetful, OTHER, 8, given, never));
    assert.throws(() => given.check("forgetful"), /two histories were cosigned/);
  });

  for (const [name, keep] of [
    ["nothing unsynced is there after it", () => () => false],
    ["everything unsynced is there after it", () => () => true],
    [
      "a drawn part of what was unsynced is there after it",
      (seed: number) => {
        const draw = seeded(seed);
        return () => draw() < 0.5;
      },
    ],
  ] as const) {
    it(`one cut, then the other history first; ${name}`, async () => {
      for (let step = 1; step <= trace.length; step++) {
        for (const moment of momentsOf(trace[step - 1]!)) {
          const label = `cut ${moment} step ${step} (${trace[step - 1]})`;
          const [disk, given] = [new MemoryDisk(), new Given()];
          disk.injection = { kind: "cut", step, moment };
          assert.equal(await attack(disk, given, HONEST, never), false, label);
          assert.ok(await attack(disk.restart(keep(step)), given, OTHER, never), `${label}: the next start answers`);
          given.check(label);
        }
      }
    });
  }

  it("several cuts, also at the start after one, at drawn steps", async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const draw = seeded(seed);
      const given = new Given();
      let disk = new MemoryDisk();
      let done = false;
      for (let cut = 0; !done; cut++) {
        const moment = (["before", "half", "after"] as const)[Math.floor(draw() * 3)]!;
        const within = cut % 2 === 0 ? trace.length : 6;
        if (cut < 8) disk.injection = { kind: "cut", step: 1 + Math.floor(draw() * within), moment };
        done = await attack(disk, given, draw() < 0.5 ? HONEST : OTHER, never);
        if (!done) disk = disk.restart(() => draw() < 0.5);
      }
      given.check(`seed ${seed}`);
    }
  });

  it("a step that fails, and the same process goes on; then the power goes", async () => {
    let [injected, told] = [0, 0];
    // What comes before is the witness's making: a start that fails says so and is tried again.
    const from = trace.findIndex((line) => line.includes(originHash(relayCrypto.sha256, ORIGIN))) + 1;
    for (let step = from; step <= trace.length; step++) {
      for (const moment of momentsOf(trace[step - 1]!)) {
        const label = `fault ${moment} step ${step} (${trace[step - 1]})`;
        const [disk, given] = [new MemoryDisk(), new Given()];
        disk.injection = { kind: "fault", step, moment };
        injected++;
        const onIo = () => {
          told++;
        };
        assert.ok(await attack(disk, given, HONEST, onIo), label);
        given.check(label);
        assert.ok(await attack(disk.restart(), given, OTHER, never), label);
        given.check(`${label}, after the cut`);
      }
    }
    assert.ok(injected > 20);
    assert.equal(told, injected, "each injected fault was told, and nothing was cosigned by that request");
  });

  it("a step that fails, then a cut before the same process has made anything durable", async () => {
    let cuts = 0;
    const from = trace.findIndex((line) => line.includes(originHash(relayCrypto.sha256, ORIGIN))) + 1;
    for (let step = from; step <= trace.length; step++) {
      for (const moment of momentsOf(trace[step - 1]!)) {
        for (const later of [1, 2, 3]) {
          const label = `fault ${moment} step ${step} (${trace[step - 1]}), cut ${later} later`;
          const [disk, given] = [new MemoryDisk(), new Given()];
          disk.injection = { kind: "fault", step, moment };
          const cut = () => {
            disk.injection = { kind: "cut", step: disk.steps + later, moment: "before" };
          };
          if (await attack(disk, given, HONEST, cut)) continue;
          cuts++;
          assert.ok(await attack(disk.restart(), given, OTHER, never), label);
          given.check(label);
        }
      }
    }
    assert.ok(cuts > 50, `${cuts} cuts`);
  });

  it("a start that fails says so, and the next one answers", async () => {
    const from = trace.findIndex((line) => line.includes(originHash(relayCrypto.sha256, ORIGIN)));
    for (let step = 1; step <= from; step++) {
      const disk = new MemoryDisk();
      disk.injection = { kind: "fault", step, moment: "before" };
      const options = { disk, crypto: relayCrypto, folder: FOLDER };
      const made = await Witness.create({ ...options, entropy }, "witness.example/w1");
      const opened = made.ok
        ? await Witness.open({ ...options, logs: [HONEST.key], nowMs: Date.now })
        : { ok: false as const, failure: made.failure };
      assert.equal(opened.ok ? "ok" : opened.failure.code, "WITNESS_IO_FAILED", `step ${step} (${trace[step - 1]})`);
      const given = new Given();
      assert.ok(await attack(disk, given, HONEST, never));
      given.check(`step ${step}`);
    }
  });
});
