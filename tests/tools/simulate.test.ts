import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Served } from "../witness/process.js";
import { runBeside } from "./run.js";
import { Running } from "./running.js";
import { play } from "./session.js";

const RUN_MAX_MS = 240_000;

/** A relay in a process of its own, as an operator has it, and boards that come to it; the tests go on from one another. */
describe("tallystick simulate", function () {
  this.timeout(RUN_MAX_MS + 10_000);
  const folder = mkdtempSync(join(tmpdir(), "tallystick-simulate-"));
  const data = join(folder, "boards");
  let relay: Served<{ readonly url: string }>;
  /** Once known: a relay that comes back comes back there. */
  let port = "0";
  let kid: string;

  const startRelay = async () => {
    relay = await Served.start(folder, ["relay", "--data", "relay", "--port", port]);
    port = new URL(relay.url).port;
  };
  const token = async () => (await runBeside(folder, ["enrol", "--data", "relay"])).received.trim();
  const board = (...args: string[]) => new Running("simulate", "--relay", relay.url, "--data", data, ...args);
  const kidIn = (output: string) => /kid ([0-9a-f]{16}), in /.exec(output)![1]!;

  const most = (step: string, output: string) =>
    Math.max(-1, ...[...output.matchAll(new RegExp(`${step} ([0-9]+)`, "g"))].map(([, count]) => Number(count)));

  async function received(of: string): Promise<number | undefined> {
    const answer = await fetch(`${relay.url}/v1/devices/${of}`, { headers: { accept: "application/json" } });
    return answer.ok ? ((await answer.json()) as { received?: { seq: number } }).received?.seq : undefined;
  }

  before(async function () {
    if (process.platform === "win32") this.skip();
    const first = await Served.start<{ readonly url: string }>(folder, [
      ...["relay", "--data", "relay", "--init", "--origin", "relay.example/simulate", "--port", "0"],
    ]);
    relay = first;
    port = new URL(first.url).port;
  });
  after(async () => {
    await relay?.end();
    rmSync(folder, { recursive: true, force: true });
  });

  it("lets a new board in with a token of enrol's, and stops by one Ctrl-C when the relay has all", async () => {
    const running = board("--token", await token());
    await running.until(/received [2-9] /);
    const second = board();
    assert.equal(await second.ended, 1);
    assert.match(second.output, /another board runs on \S+attic; stop it first, or name another folder with --data/);
    running.child.kill("SIGINT");
    assert.equal(await running.ended, 0, running.output);
    assert.match(running.output, /^attic {6}held [0-9]+ → received [0-9]+ → logged [0-9]+ → /m);
    assert.match(running.output, /^attic: the relay has what was recorded; the same command goes on with this chain$/m);
    kid = kidIn(running.output);
    assert((await received(kid))! >= 1, "the relay itself says so");
  });

  it("goes on with its chain without a token, and has no use for another one", async () => {
    const before = (await received(kid))!;
    const running = board("--token", "unused");
    await running.until((output) => most("received", output) > before + 1);
    running.child.kill("SIGINT");
    assert.equal(await running.ended, 0, running.output);
    assert.match(running.output, /^attic: is enrolled already; the token is not used$/m);
    assert.equal(kidIn(running.output), kid);
    assert((await received(kid))! > before);
    const timed = board("--for", "1s");
    assert.equal(await timed.ended, 0, timed.output);
  });

  it("says what a spent token is and ends; the right one lets the same board in", async () => {
    const spent = await token();
    const first = board("--board", "cellar", "--token", spent);
    await first.until(/received [1-9]/);
    first.child.kill("SIGINT");
    assert.equal(await first.ended, 0, first.output);
    for (const wrong of [spent, "mistyped"]) {
      const refused = board("--board", "greenhouse", "--token", wrong);
      assert.equal(await refused.ended, 1, refused.output);
      assert.match(refused.output, /^tallystick simulate: TOKEN_INVALID: .*make a new one with tallystick enrol/m);
      assert.match(
        refused.output,
        /^What it has recorded stays: start it again on \S+greenhouse with another --token\.$/m,
      );
      assert.equal(await received(kidIn(refused.output)), undefined);
    }
    const keys = () => JSON.parse(readFileSync(join(data, "greenhouse", "keys.json"), "utf8")).keys;
    const seeds = Object.entries(keys()).filter(([name]) => name.endsWith("seed"));
    assert.equal(seeds.length, 1);
    const right = board("--board", "greenhouse", "--token", await token());
    await right.until(/received [1-9]/);
    right.child.kill("SIGINT");
    assert.equal(await right.ended, 0, right.output);
    for (const [name, seed] of seeds) assert.equal(keys()[name], seed, "the key of before");
  });

  it("records on while the relay is away, tells it, and brings everything when it is back", async () => {
    const before = (await received(kid))!;
    const running = board();
    await running.until(/received [1-9]/);
    await relay.end("SIGKILL");
    await running.until("TRANSPORT_FAILED");
    const heldThen = most("held", running.output);
    await running.until((output) => most("held", output) >= heldThen + 2);
    running.child.kill("SIGINT");
    assert.equal(await running.ended, 1, running.output);
    const said = /^attic: the relay lacks the records after seq ([0-9]+), up to seq ([0-9]+)$/m.exec(running.output);
    assert(said, running.output);
    const [after, held] = [Number(said[1]), Number(said[2])];
    assert(after >= before && held >= heldThen + 1);
    assert.match(running.output, /^TRANSPORT_FAILED: .*ECONNREFUSED/m);
    assert.match(running.output, /^They are kept in \S+attic, and brought when it is started again\.$/m);

    const alone = board("--for", "2s");
    assert.equal(await alone.ended, 1, alone.output);
    assert.match(alone.output, /^attic: no word from the relay on the records up to seq [0-9]+$/m);

    await startRelay();
    const again = board();
    await again.until((output) => most("received", output) > held);
    again.child.kill("SIGINT");
    assert.equal(await again.ended, 0, again.output);
    assert((await received(kid))! >= held);
  });

  it("says what is missing: a token, a relay, an address that is one", async () => {
    const away = relay.url;
    await relay.end();
    play(
      `
$ tallystick simulate --relay ${away} --data new
tallystick simulate: a new board needs a token: make one with tallystick enrol where the relay runs, and give it with --token
[1]
$ tallystick simulate --relay ${away} --data new --token token
tallystick simulate: the relay at ${away} cannot be asked (…); start it, or correct the address
[1]
$ tallystick simulate --relay 127.0.0.1:18431
error: option '--relay <url>' argument '127.0.0.1:18431' is invalid. expected an address such as http://127.0.0.1:8080: put http:// or https:// in front of 127.0.0.1:18431
(--help lists what it takes)
[2]
$ tallystick simulate --relay ftp://relay.example
error: option '--relay <url>' argument 'ftp://relay.example' is invalid. expected an address such as http://127.0.0.1:8080
(--help lists what it takes)
[2]
$ tallystick simulate --relay http://relay.example/behind
error: option '--relay <url>' argument 'http://relay.example/behind' is invalid. a board finds no relay behind a path: expected http://relay.example
(--help lists what it takes)
[2]
$ tallystick simulate --token token
error: required option '--relay <url>' not specified
(--help lists what it takes)
[2]
`,
      folder,
    );
  });
});
