import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Running } from "./running.js";
import { play } from "./session.js";

const RUN_MAX_MS = 240_000;
/** From a killed demo to the end of its relay and of the chain. */
const ORPHANS_MAX_MS = 20_000;
const POLL_MS = 100;

const pause = () => new Promise((done) => setTimeout(done, POLL_MS));

/** Numbers of the processes whose command line names this folder, but for the demo itself. */
function processesOn(folder: string, but?: number): number[] {
  return execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(folder) && !line.includes("ps -eo"))
    .map((line) => Number(line.trim().split(" ")[0]))
    .filter((pid) => pid !== but && pid !== process.pid);
}

async function untilNothingRunsOn(folder: string): Promise<void> {
  const endMs = Date.now() + ORPHANS_MAX_MS;
  while (processesOn(folder).length > 0) {
    assert(Date.now() < endMs, `still there: ${processesOn(folder).join(", ")}`);
    await pause();
  }
}

interface KeyFile {
  readonly keys: Record<string, string>;
}

/** One data folder that lives through what befalls a demo at two in the morning; the tests go on from one another. */
describe("tallystick demo", function () {
  this.timeout(RUN_MAX_MS + 10_000);
  const folder = mkdtempSync(join(tmpdir(), "tallystick-demo-"));
  const data = join(folder, "data");
  const json = join(folder, "out.json");
  const reached = () => JSON.parse(readFileSync(json, "utf8"));
  const keysOf = (label: string) =>
    (JSON.parse(readFileSync(join(data, "boards", label, "keys.json"), "utf8")) as KeyFile).keys;
  let first: ReturnType<typeof reached>;

  before(function () {
    if (process.platform === "win32") this.skip();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("refuses what is no data folder of its own, in one line", () => {
    mkdirSync(join(folder, "photos"));
    writeFileSync(join(folder, "photos", "cat.jpg"), "");
    writeFileSync(join(folder, "file"), "");
    play(
      `
$ tallystick demo --data photos
tallystick demo: …/photos holds other files (cat.jpg); name a new folder with --data
[1]
$ tallystick demo --data file/below
tallystick demo: DATA_FOLDER_UNWRITABLE: the data folder cannot be written (ENOTDIR: …); give …
[1]
`,
      folder,
    );
  });

  it("looks at where its result is to be written before it starts anything", () => {
    play(
      `
$ tallystick demo --data fresh --json nowhere/out.json
tallystick demo: --json: ENOENT: …nowhere'; name a file that can be written
[1]
$ tallystick demo --data fresh --json photos
tallystick demo: --json: photos is a folder; name a file that can be written
[1]
`,
      folder,
    );
    assert(!existsSync(join(folder, "fresh")));
  });

  it("proves a reading of each board after one Ctrl-C, and lets no second demo onto its folder meanwhile", async () => {
    const demo = new Running("demo", "--data", data, "--json", json);
    await demo.until("held");
    play(
      `
$ tallystick demo --data data
tallystick demo: another demo runs on …/data; stop it first, or name another folder with --data
[1]
`,
      folder,
    );
    await demo.until("received 2");
    demo.child.kill("SIGINT");
    assert.equal(await demo.ended, 0, demo.output);
    assert.match(demo.output, /\n3 of 3 boards' readings proved from sensor to ledger\n$/);
    assert(!demo.output.includes("\x1b"), "colours and cursor movements in a pipe");
    first = reached();
    assert.deepEqual(Object.keys(first), [
      "devices",
      "records_held",
      "records_received",
      "records_logged",
      "records_submitted",
      "records_final",
      "evidence_verified",
      "board_crashes",
      "engine",
      "ledger",
    ]);
    assert.equal(first.evidence_verified, 3);
    assert.equal(first.board_crashes, 0, demo.output);
    assert.deepEqual(processesOn(data), []);
    play(
      `
$ tallystick verify data/evidence/attic.tally --policy data/evidence/attic.policy.json
record …
…
verdict: proved (signature, device, logged, anchored)
[0]
$ tallystick inspect data/boards/attic/flash.bin
journal of 128 sectors of 4096 bytes, plain NOR
…
  0040 record, …
       seq 0 genesis, …
…
[0]
`,
      folder,
    );
  });

  it("ends with its relay and says so, where that is killed; keys stay and chains go on", async () => {
    const seeds = ["attic", "cellar", "greenhouse"].map((label) => keysOf(label));
    const log = readFileSync(join(data, "relay", "log", "public", "checkpoint"), "utf8").split("\n");
    const demo = new Running("demo", "--data", data, "--json", json);
    await demo.until("held");
    const relay = processesOn(data, demo.child.pid).find((pid) =>
      execFileSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }).includes("tallystick.mjs relay"),
    );
    process.kill(relay!, "SIGKILL");
    assert.equal(await demo.ended, 1, demo.output);
    assert.match(demo.output, /the relay ended with SIGKILL; the demo ends: start it again on this folder/);
    assert.equal(reached().evidence_verified, 0);
    assert(reached().records_held > first.records_held, "the chains went on");
    for (const [i, label] of ["attic", "cellar", "greenhouse"].entries())
      for (const [name, value] of Object.entries(seeds[i]!))
        if (name.endsWith("seed")) assert.equal(keysOf(label)[name], value);
    const now = readFileSync(join(data, "relay", "log", "public", "checkpoint"), "utf8").split("\n");
    assert.equal(now[0], log[0]);
    assert(Number(now[1]) >= Number(log[1]));
  });

  it("leaves neither relay nor chain behind where it is killed", async () => {
    const demo = new Running("demo", "--data", data);
    await demo.until("ledger:");
    assert(processesOn(data, demo.child.pid).length > 0);
    demo.child.kill("SIGKILL");
    assert.equal(await demo.ended, "SIGKILL");
    await untilNothingRunsOn(data);
  });

  it("names the port that another program has", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const demo = new Running("demo", "--data", data, "--port", String(port));
    assert.equal(await demo.ended, 1);
    server.close();
    assert.match(demo.output, /^tallystick demo: the relay ended with status 1: PORT_TAKEN: .*choose another port/m);
  });

  const damages: [string, (copy: string) => void, RegExp][] = [
    [
      "a board's keys",
      (copy) => writeFileSync(join(copy, "boards", "cellar", "keys.json"), "{"),
      /^tallystick demo: .*keys\.json: expected JSON; restore it from a copy/m,
    ],
    [
      "a board's flash",
      (copy) => truncateSync(join(copy, "boards", "cellar", "flash.bin"), 1000),
      /^tallystick demo: .*flash\.bin: expected flash cells of 524288 bytes, the file has 1000/m,
    ],
    [
      "the relay's database",
      (copy) => writeFileSync(join(copy, "relay", "store.sqlite"), Buffer.alloc(65_536, 7)),
      /^tallystick demo: the relay ended with status 1: STORE_CORRUPT: /m,
    ],
  ];
  for (const [what, damage, message] of damages)
    it(`refuses to start on ${what} when damaged, and repairs nothing by forgetting`, async () => {
      const copy = join(folder, "copy");
      rmSync(copy, { recursive: true, force: true });
      cpSync(data, copy, { recursive: true });
      damage(copy);
      const demo = new Running("demo", "--data", copy);
      assert.equal(await demo.ended, 1, demo.output);
      assert.match(demo.output, message);
      assert.doesNotMatch(demo.output, /^ {4}at /m);
      assert(existsSync(join(copy, "relay", "store.sqlite")));
    });
});
