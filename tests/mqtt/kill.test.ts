import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fromHex } from "tallystick/bytes/bytes";
import { writeToken } from "tallystick/sync/enrolment";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { Relay } from "../../hosts/relay/relay.js";
import { FixtureDevice, MemoryKeys } from "../fixtures/device.js";
import { checkHeld, SyncingDevice } from "../fixtures/syncing.js";
import { must, ORIGIN, temporaryFolder } from "../relay/started.js";
import { TALLYSTICK } from "../tools/session.js";
import { Mosquitto, needMosquitto } from "./mosquitto.js";
import { MqttTransport } from "./transport.js";

const KILLS = 3;
const RECORDS = 1200;

/** `tallystick relay --mqtt` as a process, killed while a device sends. */
describe("MQTT: the relay is killed", function () {
  this.timeout(120_000);
  let broker: Mosquitto;
  let child: ChildProcess | undefined;

  before(async function () {
    needMosquitto(this);
    broker = await Mosquitto.start();
  });
  after(async () => {
    child?.kill("SIGKILL");
    await broker?.close();
  });

  async function run(folder: string, ...more: readonly string[]): Promise<void> {
    const words = [TALLYSTICK, "relay", "--data", folder, "--mqtt", broker.url, "--json", "--log", "info", ...more];
    const started = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    let told = "";
    started.stderr.on("data", (data: Buffer) => {
      told = `${told}${data}`.slice(-4000);
    });
    const ended = once(started, "exit").then(() => Promise.reject(new Error(`the relay did not start: ${told}`)));
    ended.catch(() => undefined);
    await Promise.race([once(createInterface({ input: started.stdout }), "line"), ended]);
  }

  async function kill(): Promise<void> {
    const ended = once(child!, "exit");
    child!.kill("SIGKILL");
    await ended;
  }

  it("in the middle of a backfill, and again: its device goes on, and every record is held once, in order", async () => {
    const { path: folder, remove } = temporaryFolder();
    const identity = must(await Relay.initialise(folder, { origin: ORIGIN }));
    const { token } = must(makeEnrolmentToken(folder, { nowMs: Date.now() }));
    const keys = new MemoryKeys();
    writeRelayPins(keys, {
      origin: ORIGIN,
      deviceKey: fromHex(identity.publicKey)!,
      logKey: identity.logKey,
      generation: 0,
    });
    writeToken(keys, new Uint8Array(Buffer.from(token)));
    const device = new FixtureDevice({ crypto: relayCrypto });
    device.appendReadings(RECORDS);
    const transport = new MqttTransport({ port: broker.port, kid: device.kid, timeoutMs: 500 });
    await run(folder);
    let kills = 0;
    let busy = Promise.resolve();
    let answers = 0;
    transport.onDown = (deliver) => {
      deliver();
      // Some batches after each start.
      if (++answers % 8 === 0 && kills < KILLS) {
        kills++;
        busy = busy.then(kill).then(() => run(folder));
      }
    };
    const syncing = new SyncingDevice(device, keys, transport);
    try {
      await syncing.releasedTo(RECORDS, 90_000);
      await busy;
      assert.equal(kills, KILLS);
      assert.ok(syncing.codes.has("TRANSPORT_FAILED"));
      assert.ok(!syncing.codes.has("CHAIN_FORK") && !syncing.codes.has("ACKNOWLEDGEMENT_FALSE"));
    } finally {
      syncing.close();
      await transport.close();
      await busy;
    }
    const ended = once(child!, "exit");
    child!.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], "and it ends in order");
    const relay = must(await Relay.open({ dataDir: folder, threads: 1 }));
    checkHeld(relay, device);
    await relay.close();
    remove();
  });

  it("takes its options from the command line, and refuses those that cannot be", async () => {
    const { path: folder, remove } = temporaryFolder();
    const password = join(folder, "password");
    writeFileSync(password, "secret\n");
    for (const [words, expected, left] of [
      [["--mqtt-user", "relay"], "mqtt.url: expected the broker's address", 1],
      [["--mqtt", "mqtt://x", "--mqtt-prefix", "#", "--init", "--data", join(folder, "a")], "MQTT_UNUSABLE", 1],
      [
        ["--mqtt", "mqtt://x", "--mqtt-password-file", password, "--init", "--data", join(folder, "b")],
        "mqtt.user: expected a user",
        1,
      ],
    ] as const) {
      const refused = spawn(process.execPath, [TALLYSTICK, "relay", "--log", "silent", ...words], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      let told = "";
      refused.stderr.on("data", (data: Buffer) => {
        told += data;
      });
      const [status] = await once(refused, "close");
      assert.equal(status, left, told);
      assert.ok(told.includes(expected), told);
      assert.ok(!told.includes("secret"));
    }
    remove();
  });
});
