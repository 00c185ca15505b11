import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { seeded } from "../log/disk.js";
import type { Promised } from "./steps/life.js";
import { keepsPromises } from "./steps/promises.js";
import { changes, type Keeps, promisesBefore, putState, ReplayedDisk, readTrace, type Step } from "./steps/replay.js";

/**
 * Every step by which a relay's whole life changes its disk, Node's and SQLite's alike, is told by a library that is
 * preloaded into a real process (steps/trace.c). The life then ends at each of them, one after the other: killed, and with
 * the power cut; and each of them fails. What is left must go on, with all that was promised.
 *
 * STEP=n reruns one step, STEPS=all tries what takes longer. Needs Linux and a C compiler.
 */
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HERE = join(ROOT, "tests/relay/steps");
const [EIO, ENOSPC] = [5, 28];
/** A failing step takes a whole life, and a state some tenths of a second: every so many are tried, with STEPS=all each. */
const STRIDE = 32;
const KILLED_STRIDE = 10;
const DRAWN_STRIDE = 20;
const ALL = process.env["STEPS"] === "all";
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
    // In memory where the system has a place for that: thousands of syncs are waited for, and no power is cut here.
    work = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "tallystick-steps-"));
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

  const endings: [string, stride: number, (step: number) => Keeps][] = [
    ["killed", KILLED_STRIDE, () => () => true],
    ["the power cut, nothing unsynced left", 1, () => () => false],
    [
      "the power cut, a drawn part of the unsynced left",
      DRAWN_STRIDE,
      (step) => {
        const draw = seeded(step + 1);
        return () => draw() < 0.5;
      },
    ],
  ];
  for (const [name, some, keepsAt] of endings)
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
          const isNew = !seen.has(same);
          seen.add(same);
          const stride = ALL || ONLY !== undefined ? 1 : some;
          if (isNew && seen.size % stride === 0) {
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
      if (ONLY === undefined) assert.ok(tried > 20, `${tried} states`);
      console.log(`      ${tried} of ${seen.size} different states`);
    });

  for (const [name, errno, from] of [
    ["the disk faulty once", EIO, 0],
    ["the disk full from then on", ENOSPC, 1],
  ] as const)
    it(`each step fails: ${name}`, () => {
      const all = steps.filter(changes).length;
      const [first, last, stride] = ONLY !== undefined ? [ONLY, ONLY, 1] : [1, all, ALL ? 1 : STRIDE];
      const args = [join(HERE, "failing.ts"), join(work, "failing")];
      args.push(...[errno, from, first, last, stride].map(String));
      const ran = spawnSync(process.execPath, ["--import", "tsx", ...args], {
        cwd: ROOT,
        env: { ...process.env, ...tracing(join(work, "failing")) },
        encoding: "utf8",
      });
      assert.equal(
        ran.status,
        0,
        `STEP=n npx mocha tests/relay/steps.test.ts reruns step n: ${ran.signal ?? ""} ${ran.stdout}${ran.stderr}`,
      );
      console.log(`      ${ran.stdout.trim()}`);
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
