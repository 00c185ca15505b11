import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { examineFolder } from "../../hosts/relay/examine.js";
import { Relay } from "../../hosts/relay/relay.js";
import { restore } from "../../hosts/relay/restore.js";
import { seeded } from "../log/disk.js";
import { must, ORIGIN } from "./started.js";
import { lifeDevice, type Promised } from "./steps/life.js";
import { changes, type Keeps, promisesBefore, putState, ReplayedDisk, readTrace, type Step } from "./steps/replay.js";

/**
 * Every step by which a relay's whole life changes its disk, Node's and SQLite's alike, is told by a library that is
 * preloaded into a real process (steps/trace.c). The life then ends at each of them, one after the other: killed, and with
 * the power cut; and each of them fails. What is left must go on, with all that was promised.
 *
 * STEP=n reruns one step. Needs Linux and a C compiler.
 */
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HERE = join(ROOT, "tests/relay/steps");
const ONLY = process.env["STEP"] === undefined ? undefined : Number(process.env["STEP"]);

describe("relay: every step of its life", function () {
  this.timeout(600_000);
  let work: string;
  let library: string;
  let steps: Step[];

  before(function () {
    const compiler = process.platform === "linux" && spawnSync("cc", ["--version"]).status === 0;
    if (!compiler) {
      console.log("      skipped: needs Linux and a C compiler");
      this.skip();
    }
    work = mkdtempSync(join(tmpdir(), "tallystick-steps-"));
    library = join(work, "trace.so");
    const built = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, join(HERE, "trace.c"), "-ldl"]);
    assert.equal(built.status, 0, built.stderr.toString());
    const root = join(work, "traced");
    const ran = spawnSync(process.execPath, ["--import", "tsx", join(HERE, "life.ts"), root], {
      cwd: ROOT,
      env: { ...process.env, ...tracing(root) },
    });
    assert.equal(ran.status, 0, ran.stderr.toString());
    steps = readTrace(readFileSync(join(work, "log")), root);
  });
  after(() => work && rmSync(work, { recursive: true, force: true }));

  function tracing(root: string): Record<string, string> {
    return {
      LD_PRELOAD: library,
      TRACE_ROOT: root,
      TRACE_LOG: join(work, "log"),
      TRACE_MARK: join(work, "mark"),
      TRACE_CONTROL: join(work, "control"),
      // Else some of libuv's calls would go past the C library.
      UV_USE_IO_URING: "0",
    };
  }

  it("is told whole: played again it gives every file, byte for byte", () => {
    const disk = new ReplayedDisk();
    for (const step of steps) disk.play(step);
    const state = disk.after(() => true);
    const root = join(work, "traced");
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) =>
      statSync(join(root, path)).isFile(),
    );
    for (const path of files) assert.deepEqual(state.get(path), readFileSync(join(root, path)), path);
    assert.equal([...state.values()].filter((bytes) => bytes !== undefined).length, files.length);
    const touched = (pattern: RegExp, what: string) =>
      steps.some((step) => step.what === what && pattern.test(step.path));
    assert.ok(touched(/store\.sqlite-wal$/, "create") && touched(/backup\.json\.new$/, "rename"));
    console.log(`      ${steps.filter(changes).length} steps`);
  });

  const endings: [string, (step: number) => Keeps][] = [
    ["killed", () => () => true],
    ["the power cut, nothing unsynced left", () => () => false],
    [
      "the power cut, a drawn part of the unsynced left",
      (step) => {
        const draw = seeded(step + 1);
        return () => draw() < 0.5;
      },
    ],
  ];
  for (const [name, keepsAt] of endings)
    it(`before each step: ${name}`, async () => {
      const disk = new ReplayedDisk();
      const seen = new Set<string>();
      let tried = 0;
      for (const [at, step] of [...steps, undefined].entries()) {
        // An end before a step that changes nothing is an end before the next; so is an end after the one before.
        if ((!step || changes(step)) && (ONLY === undefined || ONLY === at)) {
          const state = disk.after(keepsAt(at));
          const promised = promisesBefore(steps, at);
          const same = fingerprint(state, promised.length);
          if (!seen.has(same)) {
            seen.add(same);
            tried++;
            await goesOn(
              state,
              promised,
              `STEP=${at} npx mocha tests/relay/steps.test.ts reruns this: ${name}, before ${step?.what} ${step?.path}`,
            );
          }
        }
        if (step) disk.play(step);
      }
      if (ONLY === undefined) assert.ok(tried > 100, `${tried} states`);
      console.log(`      ${tried} different states`);
    });

  function fingerprint(state: ReadonlyMap<string, Buffer | undefined>, promises: number): string {
    // Locks have no content, and SQLite makes its shared memory anew.
    const counts = [...state].filter(([path]) => !/(-shm|relay\.lock.*|holder.*|backup\.lock.*)$/.test(path));
    const parts = counts.map(([path, bytes]) => `${path}:${bytes ? toHex(relayCrypto.sha256(bytes)) : ""}`);
    return toHex(relayCrypto.sha256(utf8(`${promises} ${parts.join()}`)));
  }

  async function goesOn(
    state: ReadonlyMap<string, Buffer | undefined>,
    promised: Promised[],
    label: string,
  ): Promise<void> {
    const folder = join(work, "state");
    rmSync(folder, { recursive: true, force: true });
    putState(state, folder);
    try {
      await keepsPromises(folder, promised);
    } catch (error) {
      throw new Error(`${label}; left: ${[...state.keys()].join(" ")}`, { cause: error });
    }
  }
});

/** What is left in `folder` goes on with all that was promised, up to the end of the life that was cut. */
async function keepsPromises(folder: string, promised: readonly Promised[]): Promise<void> {
  const dataDir = join(folder, "relay");
  const initialised = promised.some((each) => each.initialised);
  // What was signed and lies somewhere may have been seen, whether or not it was marked.
  const paths = ["log/public/checkpoint", "log/lock/head", "log/key.signed"].map((path) => join(dataDir, path));
  const left = paths.filter(existsSync).map((path) => readFileSync(path, "utf8"));
  let opened = await Relay.open({ dataDir, batchIntervalMs: 3_600_000 });
  if (!opened.ok && !initialised) {
    assert.equal(opened.failure.code, "DATA_FOLDER_BLANK", opened.failure.detail);
    must(await Relay.initialise(dataDir, { origin: ORIGIN }));
    left.length = 0;
    opened = await Relay.open({ dataDir, batchIntervalMs: 3_600_000 });
  }
  const relay = must(opened);
  try {
    const key = Buffer.from(relay.identity.publicKey, "hex");
    const logKey = must(parseVerifierKey(relayCrypto.sha256, relay.identity.logKey));
    const device = lifeDevice();
    const received = Math.max(-1, ...promised.map((each) => each.received ?? -1));
    const logged = Math.max(-1, ...promised.map((each) => each.logged ?? -1));
    const stored = relay.store.deviceByKid(device.identity.kid);
    if (!stored) {
      assert.equal(received, -1, "an enrolled device is gone");
      const { token } = must(makeEnrolmentToken(dataDir));
      device.read(await device.enrol(relay.url, ORIGIN, token), key);
    }
    const head = device.read(await device.askHead(relay.url), key);
    assert.ok(head.received!.seq >= received, `seq ${received} was acknowledged, ${head.received!.seq} is held`);
    assert.ok((head.logged?.seq ?? -1) >= logged, `seq ${logged} was acknowledged as logged, now ${head.logged?.seq}`);
    if (head.received!.seq + 1 < device.chain.length)
      device.read(await device.send(relay.url, head.received!.seq + 1), key);
    must(await relay.log.sequence());
    assert.equal(relay.log.head.size, device.chain.length + 1);
    const { device: number } = relay.store.deviceByKid(device.identity.kid)!;
    const held = [...relay.store.recordsBetween(number, 0, device.chain.length)].map(({ bytes }) => toHex(bytes));
    assert.deepEqual(
      held,
      device.chain.map((bytes) => toHex(bytes)),
      "no record lost, none changed",
    );
    const given = [...promised.flatMap(({ checkpoint }) => checkpoint ?? []), ...left];
    for (const text of new Set(given)) {
      const checkpoint = openCheckpoint(relayCrypto, utf8(text), logKey);
      // What a cut left half-written under no name of its own is no checkpoint that anyone saw.
      assert.ok(checkpoint.ok, checkpoint.ok ? "" : checkpoint.failure.detail);
      const root = must(await relay.log.rootAt(checkpoint.value.size));
      assert.equal(toHex(root), toHex(checkpoint.value.root), `two histories at ${checkpoint.value.size}`);
    }
  } finally {
    await relay.close();
  }
  assert.deepEqual(must(await examineFolder(dataDir)).findings, []);
  if (promised.some(({ backup }) => backup)) {
    const failure = await restore(join(folder, "backups"), join(folder, "restored"));
    assert.ok(failure.ok, failure.ok ? "" : failure.failure.detail);
  }
}
