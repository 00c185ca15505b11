import assert from "node:assert/strict";
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { didKey } from "tallystick/identity/key";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { parseVerifierKey } from "tallystick/log/note";
import { readOpening } from "tallystick/log/opening";
import { followRelayKey, RELAY_KEYS_MAX, splitRelayKeys } from "tallystick/sync/relay-key";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { pathsOf, type RelayIdentity, readIdentity } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey, systemEntropy } from "../../hosts/relay/keys.js";
import { type Disk, nodeDisk } from "../../hosts/relay/log/disk.js";
import { Log } from "../../hosts/relay/log/log.js";
import { drawNextLogKey, lastLogTree } from "../../hosts/relay/log/next-key.js";
import { Relay } from "../../hosts/relay/relay.js";
import {
  changeRelayKeys,
  decideKeyChange,
  finishKeyChange,
  type KeyChange,
  pinsOf,
} from "../../hosts/relay/relay-keys.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { stateKey } from "../fixtures/relay-keys.js";
import { ORIGIN as MEMORY_ORIGIN, MemorySource, optionsFor } from "../log/bench.js";
import { MemoryDisk, PowerCut, seeded } from "../log/disk.js";
import { change, changeAndRestart, loseKeys, RECOVERY, startRecoverable } from "./key-change.js";
import { failureOf, must, type StartedRelay, StartedRelay as Starter, temporaryFolder } from "./started.js";

const MUTATING = ["write", "rename", "syncFolder", "makeFolder", "remove"] as const;

/** The process dies before its `step`-th change of the disk, counted from 1. */
class Killed extends Error {}
function killedAt(step: number): { readonly disk: Disk; readonly trace: string[] } {
  const trace: string[] = [];
  const disk = new Proxy(nodeDisk, {
    get(target, name: keyof Disk) {
      if (!(MUTATING as readonly string[]).includes(name)) return target[name];
      return async (...args: readonly unknown[]) => {
        if (trace.length + 1 >= step) throw new Killed(`before ${name} ${String(args[0])}`);
        trace.push(`${name} ${args.filter((arg) => typeof arg === "string").join(" ")}`);
        return (target[name] as (...given: readonly unknown[]) => Promise<unknown>)(...args);
      };
    },
  });
  return { disk, trace };
}

describe("relay: its keys change", function () {
  this.timeout(180_000);
  let started: StartedRelay;
  let device: FixtureDevice;
  let template: string;
  let remove: () => void;
  let former: RelayIdentity;

  before(async () => {
    started = await startRecoverable();
    device = await started.device();
    device.appendReadings(20);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    device.read(await device.askHead(started.url), started.key);
    former = started.relay.identity;
    await started.relay.close();
    ({ path: template, remove } = temporaryFolder());
    rmSync(template, { recursive: true });
    cpSync(started.folder, template, { recursive: true });
  });
  beforeEach(() => {
    rmSync(started.folder, { recursive: true, force: true });
    cpSync(template, started.folder, { recursive: true });
  });
  after(() => {
    remove();
    rmSync(started.folder, { recursive: true, force: true });
  });

  /**
   * That the folder holds the old relay or the new one, whole: it starts, its key is the one that its newest statement
   * names, a device that follows the statements believes it, and its log continues what a device has seen.
   */
  async function checkWhole(folder: string): Promise<RelayIdentity> {
    const relay = must(await Relay.open({ dataDir: folder, batchIntervalMs: 5 }));
    try {
      const identity = must(readIdentity(folder));
      let pins = must(pinsOf(crypto, former));
      const kept = (await get(`${relay.url}/v1/relay/keys?generation=0`)).bytes;
      for (const bytes of must(splitRelayKeys(kept))) pins = must(followRelayKey(crypto, pins, bytes));
      assert.deepEqual([toHex(pins.deviceKey), pins.generation], [identity.publicKey, identity.generation ?? 0]);
      const key = must(openDeviceFacingKey(pathsOf(folder).deviceFacingKey, crypto));
      assert.equal(toHex(key.publicKey), identity.publicKey);
      assert.deepEqual(relay.log.key, pins.logKey);
      assert.ok(!existsSync(pathsOf(folder).nextKeys) && !existsSync(`${pathsOf(folder).nextKeys}.new`));
      const before = relay.log.head.size;
      const greeted = device.read(await device.askHead(relay.url), pins.deviceKey);
      assert.equal(must(openCheckpoint(crypto, utf8(greeted.checkpoint), pins.logKey)).size, before);
      assert.equal(greeted.logged?.seq, 20);
      assert.equal(relay.store.countRecords(), 21);
      return identity;
    } finally {
      await relay.close();
    }
  }

  const changes: readonly (readonly [string, Partial<KeyChange>, boolean])[] = [
    ["the device-facing key, by itself", {}, false],
    ["both keys, by the device-facing key", { withLogKey: true }, false],
    ["both keys, by the recovery key, when they are lost", { withLogKey: true, recovery: RECOVERY }, true],
  ];
  for (const [what, how, lost] of changes)
    it(`${what}: killed before each change of the disk there is the old relay or the new one`, async () => {
      const folder = started.folder;
      const options = { crypto, entropy: systemEntropy, ...how };
      if (lost) loseKeys(folder);
      const whole = killedAt(Number.POSITIVE_INFINITY);
      must(await changeRelayKeys(folder, { ...options, disk: whole.disk }));
      const generation = how.recovery ? 1024 : 1;
      assert.equal((await checkWhole(folder)).generation, generation);
      const decided = whole.trace.findIndex((step) => step.startsWith("rename") && step.endsWith("relay-keys.next"));
      assert.ok(decided > 0 && whole.trace.length > 10);
      for (let step = 1; step <= whole.trace.length; step++) {
        rmSync(folder, { recursive: true });
        cpSync(template, folder, { recursive: true });
        if (lost) loseKeys(folder);
        await assert.rejects(changeRelayKeys(folder, { ...options, disk: killedAt(step).disk }), Killed);
        // A start that is killed as well, wherever it is: the next one still finishes.
        for (let second = 1; second <= 3; second++)
          await finishKeyChange(folder, crypto, killedAt(step % (second * 7)).disk).catch((error) =>
            assert.ok(error instanceof Killed),
          );
        if (step <= decided + 1 && lost) {
          assert.equal(failureOf(await Relay.open({ dataDir: folder })).code, "RELAY_KEY_MISSING");
          must(await changeRelayKeys(folder, options));
        }
        const identity = await checkWhole(folder);
        const isNew = lost || step > decided + 1;
        assert.equal(identity.generation ?? 0, isNew ? generation : 0, `step ${step}: ${whole.trace[step - 1]}`);
        if (!isNew) assert.deepEqual(identity, former);
      }
    });

  it("loses the power at each step of carrying a change out, twice: all of the old files or all of the new ones", async () => {
    const random = seeded(Number(process.env["SEED"] ?? 1));
    const identityOf = (generation: number, logKey: string): RelayIdentity => ({
      format: 1,
      origin: MEMORY_ORIGIN,
      publicKey: "00",
      logKey,
      logWithinS: 60,
      generation,
    });
    async function prepared() {
      const disk = new MemoryDisk();
      const source = new MemorySource();
      const log = must(await Log.open("/log", optionsFor(disk, source)));
      source.add(300);
      must(await log.sequence());
      await log.close();
      const last = must(await lastLogTree("/log", log.key, { disk, crypto }));
      const entropy = { bytes: (length: number) => new Uint8Array(length).fill(9) };
      const next = must(drawNextLogKey(MEMORY_ORIGIN, last, { crypto, entropy }));
      const statements = new Uint8Array(300).fill(3);
      const change = { seed: new Uint8Array(32).fill(5), statements, identity: identityOf(1, "next"), log: next };
      return { disk, source, change, formerKey: log.key, head: log.head };
    }
    const carryOut = async (disk: MemoryDisk, change: Parameters<typeof decideKeyChange>[1]) => {
      await decideKeyChange("/", change, disk);
      must(await finishKeyChange("/", crypto, disk));
    };
    const counted = await prepared();
    const first = counted.disk.steps;
    await carryOut(counted.disk, counted.change);
    const last = counted.disk.steps;
    let [olds, news] = [0, 0];
    for (let step = first + 1; step <= last; step++)
      for (const moment of ["before", "half", "after"] as const) {
        const { disk, source, change, formerKey, head } = await prepared();
        disk.injection = { kind: "cut", step, moment };
        await assert.rejects(carryOut(disk, change), PowerCut);
        let after = disk.restart(() => random() < 0.5);
        after.injection = { kind: "cut", step: 1 + Math.floor(random() * 20), moment };
        await finishKeyChange("/", crypto, after).catch((error) => assert.ok(error instanceof PowerCut));
        after = after.restart(() => random() < 0.5);
        must(await finishKeyChange("/", crypto, after));
        const files = after.files();
        const isNew = files.has("/relay-keys.cborseq");
        isNew ? news++ : olds++;
        const where = `${moment} step ${step}, ${disk.trace[step - 1]}`;
        assert.deepEqual(
          ["/relay.json", "/device-facing.key"].map((path) => files.has(path)),
          [isNew, isNew],
          where,
        );
        assert.ok(!files.has("/relay-keys.next"), where);
        const log = must(await Log.open("/log", optionsFor(after, source)));
        assert.deepEqual(log.key, isNew ? change.log.key : formerKey, where);
        assert.deepEqual([log.head.size, log.head.root], [head.size, head.root], where);
        source.add(1);
        must(await log.sequence());
      }
    assert.ok(olds > 0 && news > 0, `${olds} old, ${news} new`);
  });

  it("serves its statements, above a generation and as many as one answer takes", async () => {
    for (let i = 0; i < RELAY_KEYS_MAX + 2; i++) await change(started.folder);
    await started.reopen();
    try {
      const above = async (query: string) => (await get(`${started.url}/v1/relay/keys${query}`)).bytes;
      const count = async (query: string) => must(splitRelayKeys(await above(query))).length;
      assert.equal(await count(""), RELAY_KEYS_MAX);
      assert.equal(await count("?generation=0"), RELAY_KEYS_MAX);
      assert.equal(await count("?generation=3"), RELAY_KEYS_MAX - 1);
      assert.equal(await count("?generation=18"), 0);
      assert.equal(await count("?generation=9007199254740991"), 0);
      let pins = must(pinsOf(crypto, former));
      for (let asked = 0; asked < 2; asked++)
        for (const bytes of must(splitRelayKeys(await above(`?generation=${pins.generation}`))))
          pins = must(followRelayKey(crypto, pins, bytes));
      assert.equal(toHex(pins.deviceKey), started.relay.identity.publicKey);
      for (const query of ["?generation=-1", "?generation=x", "?generation=1.5", "?other=1"])
        assert.equal((await get(`${started.url}/v1/relay/keys${query}`)).problem?.code, "REQUEST_MALFORMED", query);
    } finally {
      await started.relay.close();
    }
  });

  it("names its recovery key in leaf 0, in relay.json and to who asks", async () => {
    await changeAndReopen({ recovery: RECOVERY, nextRecoveryKey: Identity.ofSeed(seed(3), crypto).publicKey });
    try {
      const opening = must(readOpening(crypto, must(await started.relay.log.entry(0))));
      assert.deepEqual(opening.recoveryKey, RECOVERY.publicKey);
      const view = JSON.parse(Buffer.from((await get(`${started.url}/v1/relay`)).bytes).toString());
      assert.equal(view.recovery_key, toHex(Identity.ofSeed(seed(3), crypto).publicKey));
      assert.equal(view.generation, 1024);
      assert.equal(view.device_key, started.relay.identity.publicKey);
    } finally {
      await started.relay.close();
    }
    const by = (recovery: Identity) => changeRelayKeys(started.folder, { crypto, entropy: systemEntropy, recovery });
    assert.equal(failureOf(await by(RECOVERY)).code, "RECOVERY_KEY_FOREIGN");
    assert.equal(must(await by(Identity.ofSeed(seed(3), crypto))).generation, 2048);
  });

  const seed = (byte: number) => new Uint8Array(32).fill(byte);

  async function changeAndReopen(how: Partial<KeyChange>): Promise<void> {
    await change(started.folder, how);
    await started.reopen();
  }

  it("keeps its new keys to itself, and nothing of the former", async () => {
    const paths = pathsOf(started.folder);
    const secrets = [paths.deviceFacingKey, paths.logKey].map((path) => readFileSync(path, "utf8"));
    await change(started.folder, { withLogKey: true });
    for (const path of [paths.deviceFacingKey, paths.logKey, `${paths.logKey}.signed`])
      assert.equal(statSync(path).mode & 0o077, 0, path);
    for (const [i, path] of [paths.deviceFacingKey, paths.logKey].entries())
      assert.notEqual(readFileSync(path, "utf8"), secrets[i]);
  });

  it("is refused while the relay runs, without the key that has to sign, by another's key, at a range's end", async () => {
    const options = { crypto, entropy: systemEntropy };
    const paths = pathsOf(started.folder);
    const refusal = async (how: Partial<KeyChange> = {}) =>
      failureOf(await changeRelayKeys(started.folder, { ...options, ...how })).code;
    await started.reopen();
    assert.equal(await refusal(), "DATA_FOLDER_LOCKED");
    await started.relay.close();
    assert.equal(await refusal({ recovery: Identity.ofSeed(seed(1), crypto) }), "RECOVERY_KEY_FOREIGN");
    const key = readFileSync(paths.deviceFacingKey);
    writeFileSync(paths.deviceFacingKey, `${"11".repeat(32)}\n`);
    assert.equal(await refusal(), "RELAY_FOREIGN");
    rmSync(paths.deviceFacingKey);
    assert.equal(await refusal(), "RELAY_KEY_MISSING");
    writeFileSync(paths.deviceFacingKey, key, { mode: 0o600 });
    const last = Identity.ofSeed(seed(7), crypto);
    const { origin, logKey } = former;
    writeFileSync(paths.relayKeys, stateKey(last, last, { origin, generation: 1023, logKey }));
    const named = { ...former, publicKey: toHex(last.publicKey), generation: 1023 };
    writeFileSync(paths.identity, JSON.stringify(named));
    writeFileSync(paths.deviceFacingKey, `${toHex(seed(7))}\n`, { mode: 0o600 });
    assert.equal(await refusal(), "RELAY_KEY_EXHAUSTED");
    assert.equal((await change(started.folder, { recovery: RECOVERY })).generation, 1024);
    assert.equal((await change(started.folder)).generation, 1025);
    const { path, remove: removeOther } = temporaryFolder();
    try {
      assert.equal(failureOf(await changeRelayKeys(path, options)).code, "DATA_FOLDER_BLANK");
    } finally {
      removeOther();
    }
    const plain = await Starter.start();
    await plain.relay.close();
    const recovered = await changeRelayKeys(plain.folder, { ...options, recovery: RECOVERY });
    assert.equal(failureOf(recovered).code, "RECOVERY_KEY_FOREIGN", "a relay without one has none for good");
    rmSync(plain.folder, { recursive: true });
  });

  it("does without the log's key where the device-facing key can sign", async () => {
    const paths = pathsOf(started.folder);
    rmSync(paths.logKey);
    rmSync(`${paths.logKey}.signed`);
    assert.equal(failureOf(await Relay.open({ dataDir: started.folder })).code, "RELAY_KEY_MISSING");
    await change(started.folder, { withLogKey: true });
    await checkWhole(started.folder);
  });

  it("does not start where its statements do not lead to its keys", async () => {
    await change(started.folder);
    await change(started.folder);
    const { relayKeys, nextKeys } = pathsOf(started.folder);
    const statements = readFileSync(relayKeys);
    const [first, second] = must(splitRelayKeys(new Uint8Array(statements)));
    const wrong = [
      undefined,
      first!,
      Buffer.concat([second!, first!]),
      Buffer.concat([first!, first!]),
      statements.subarray(0, -1),
      Buffer.concat([statements, Buffer.of(0xf6)]),
    ];
    for (const bytes of wrong) {
      if (bytes) writeFileSync(relayKeys, bytes);
      else rmSync(relayKeys);
      assert.equal(failureOf(await Relay.open({ dataDir: started.folder })).code, "RELAY_FOREIGN");
    }
    writeFileSync(relayKeys, statements);
    writeFileSync(nextKeys, "nothing that was decided");
    assert.equal(failureOf(await Relay.open({ dataDir: started.folder })).code, "RELAY_FOREIGN");
    rmSync(nextKeys);
    await checkWhole(started.folder);
  });

  it("old checkpoints stay valid under the former key, and the log continues them", async () => {
    const formerKey = must(parseVerifierKey(crypto.sha256, former.logKey));
    const checkpoint = new Uint8Array(readFileSync(`${pathsOf(started.folder).logPublic}/checkpoint`));
    const before = must(openCheckpoint(crypto, checkpoint, formerKey));
    await started.reopen();
    await changeAndRestart(started, { withLogKey: true });
    try {
      const other = await started.device();
      other.appendReadings(3);
      other.read(await other.send(started.url), started.key);
      await started.settled();
      assert.ok(started.relay.log.head.size > before.size);
      assert.ok((await started.relay.log.consistency(before.size, started.relay.log.head.size)).ok);
      assert.equal(openCheckpoint(crypto, started.relay.log.head.checkpoint, formerKey).ok, false);
      assert.match(didKey(fromHex(started.relay.identity.publicKey)!), /^did:key:z6Mk/);
    } finally {
      await started.relay.close();
    }
  });
});
