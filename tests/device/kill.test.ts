import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const CHILD = fileURLToPath(new URL("../relay/relay-child.ts", import.meta.url));
const KILLS = 2;

/** The relay as a process of its own, killed while it works on a batch: the device brings whatever did not stay. */
describe("a device whose relay is killed", function () {
  this.timeout(120_000);
  const children: ChildProcess[] = [];
  let started: StartedRelay;
  let bench: Bench;

  before(async () => {
    started = await StartedRelay.start();
    bench = new Bench({ seed: 401, sectors: 64 });
    bench.provision(started);
    await started.relay.close();
    // Loaded ahead of their turn: that takes longer than all else here.
    for (let i = 0; i < KILLS; i++)
      children.push(spawn(process.execPath, ["--import", "tsx", CHILD], { stdio: ["pipe", "pipe", "inherit"] }));
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await bench.close();
    await started.close();
  });

  async function take(child: ChildProcess): Promise<void> {
    child.stdin!.write(`${started.folder}\n`);
    const exited = once(child, "exit").then(([code]) => Promise.reject(new Error(`the relay ended with ${code}`)));
    exited.catch(() => undefined);
    const [url] = await Promise.race([once(createInterface({ input: child.stdout! }), "line"), exited]);
    bench.connect(url as string);
  }

  it(`${KILLS} times with a batch under way: each record is there once, in the end`, async () => {
    await bench.powerOn();
    await bench.until("a backlog", () => bench.headSeq >= 250, 60 * 60_000);
    let batches = 0;
    for (const child of children) {
      await take(child);
      const first = batches;
      let killed = false;
      bench.network.onRequest = ({ path }) => {
        if (!path.endsWith("/records") || ++batches < first + 2 || killed) return;
        killed = true;
        // The request is on its way when the signal arrives, or was just answered: both must do.
        setImmediate(() => child.kill("SIGKILL"));
      };
      await bench.until("the kill", () => killed);
      await bench.until("a failure", () => bench.codes[bench.codes.length - 1] === "TRANSPORT_FAILED");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
    bench.network.onRequest = undefined;
    const received = bench.level("received");
    assert.ok(received >= 0 && received < 250, `the kills came after ${received}`);
    await started.reopen();
    bench.connect(started.url);
    await bench.checkNothingLost(started);
    assert.ok(bench.recordsAt(started.relay).length > 250);
  });
});
