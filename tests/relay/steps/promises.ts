import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { toHex, utf8 } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import { examineFolder } from "../../../hosts/relay/examine.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { restore } from "../../../hosts/relay/restore.js";
import { must, ORIGIN } from "../started.js";
import { lifeDevice, type Promised } from "./life.js";

/** What is left in `folder` goes on with all that was promised, up to the end of the life that was cut. */
export async function keepsPromises(folder: string, promised: readonly Promised[]): Promise<void> {
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
