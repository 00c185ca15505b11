import assert from "node:assert/strict";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { type Policy, readPolicy } from "tallystick/evidence/policy";
import { didKey } from "tallystick/identity/key";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from "tallystick/log/note";
import { encodeAddCheckpoint } from "tallystick/log/witness";
import { recordId } from "tallystick/record/record";
import { accept } from "tallystick/sync/acceptance";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Relay } from "../../hosts/relay/relay.js";
import { type FixtureDevice, get, MemoryKeys } from "../fixtures/device.js";
import { changeAndRestart } from "../relay/key-change.js";
import { failureOf, StartedRelay, temporaryFolder } from "../relay/started.js";
import { must, post, StartedWitness } from "./fixture.js";
import { linesOf, until } from "./lying.js";

const { sha256 } = relayCrypto;

/** A relay, its witness, and a copy of its folder from before: an operator's restored backup, or a liar's second history. */
describe("relay: a witness, and a second history", () => {
  let started: StartedRelay;
  let witness: StartedWitness;
  let device: FixtureDevice;
  let other: FixtureDevice;
  let copy: ReturnType<typeof temporaryFolder>;
  let copied: Relay | undefined;

  beforeEach(async () => {
    started = await StartedRelay.start();
    witness = await StartedWitness.start([logKey()]);
    device = await started.device();
    other = await started.device();
    device.appendReadings(2);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    await started.relay.close();
    copy = temporaryFolder();
    cpSync(started.folder, copy.path, { recursive: true });
    await started.reopen({ witnesses: asked() });
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    await cosigned(started.relay);
  });
  afterEach(async () => {
    await copied?.close();
    copied = undefined;
    await started.close();
    await witness.close();
    copy.remove();
  });

  const logKey = (): VerifierKey => must(parseVerifierKey(sha256, started.relay.identity.logKey));
  const asked = () => [{ url: witness.url, key: witness.key }];
  const openCopy = (witnesses = asked()) => Relay.open({ dataDir: copy.path, batchIntervalMs: 20, witnesses });

  async function cosigned(relay: Relay): Promise<void> {
    await started.settled();
    await until("the cosignature", () => linesOf(relay.log.head.checkpoint).length === 2);
  }

  /** The copy shows a history of its own, past the size that the witness holds. */
  async function diverge(): Promise<Relay> {
    const liar = copied!;
    other.appendReadings(30);
    other.read(await other.send(liar.url), started.key);
    await until("his checkpoint", () => liar.log.head.size > started.relay.log.head.size);
    return liar;
  }

  function policy(require: readonly Policy["require"][number][]): Policy {
    const devices = [device, other].map(({ identity }) => didKey(identity.publicKey));
    const witnesses = [formatVerifierKey(witness.key)];
    const text = JSON.stringify({ log: started.relay.identity.logKey, devices, witnesses, require });
    return must(readPolicy(sha256, text));
  }

  async function verdict(relay: Relay, of: FixtureDevice, seq: number, require: Parameters<typeof policy>[0]) {
    const path = `/v1/records/${toHex(recordId(sha256, of.chain[seq]!))}/evidence`;
    return must(verifyEvidence(relayCrypto, (await get(`${relay.url}${path}`)).bytes, policy(require))).verdict;
  }

  it("a relay that shows two histories: its second one gets no cosignature, and no verifier who asks for one takes it", async () => {
    copied = must(await openCopy([]));
    const liar = await diverge();
    assert.equal(must(openCheckpoint(relayCrypto, liar.log.head.checkpoint, logKey())).size, liar.log.head.size);
    // Who does not ask for witnesses believes both.
    const plain = ["signature", "device", "logged"] as const;
    assert.equal(await verdict(started.relay, device, 4, plain), "proved");
    assert.equal(await verdict(liar, other, 20, plain), "proved");
    assert.equal(await verdict(started.relay, device, 4, [...plain, "witnessed"]), "proved");
    assert.equal(await verdict(liar, other, 20, [...plain, "witnessed"]), "incomplete");

    // Whatever he asks of the witness: his own path from every size that it may hold.
    const { log } = liar;
    const held = started.relay.log.head.size;
    for (const oldSize of [0, 1, held - 1, held, held + 1]) {
      const body = { oldSize, path: must(await log.consistency(oldSize)), checkpoint: log.head.checkpoint };
      const answer = await post(witness.url, encodeAddCheckpoint(body));
      assert.deepEqual(
        [answer.status, answer.status === 409 ? answer.text : answer.code],
        oldSize === held ? [422, "WITNESS_PROOF_FALSE"] : [409, `${held}\n`],
      );
    }
    // The honest relay's line does not stand for his tree.
    const own = must(openCheckpoint(relayCrypto, started.relay.log.head.checkpoint, logKey(), [witness.key]));
    assert.equal(own.cosignatures.length, 1);
    assert.deepEqual(linesOf(log.head.checkpoint), [started.relay.identity.origin]);
  });

  it("a device that has pinned the one refuses the other, signed as it is by all the relay's keys", async () => {
    copied = must(await openCopy([]));
    const keys = new MemoryKeys();
    const pins = {
      origin: started.relay.identity.origin,
      deviceKey: started.key,
      logKey: logKey(),
      generation: 0,
    };
    const asks = async (url: string) => {
      const request = { ...device.request(), pinnedSize: pinned };
      const { bytes } = await device.askHead(url, request);
      const ownId = (seq: number) => device.chain[seq] && recordId(sha256, device.chain[seq]);
      const options = { crypto: relayCrypto, kid: device.identity.kid, relay: pins, keys, ownId, lastSeq: 99 };
      return accept(options, request, bytes);
    };
    let pinned = 0;
    const accepted = must(await asks(started.url));
    assert.equal(linesOf(utf8(accepted.checkpoint)).length, 2, "it carries the cosignature");
    pinned = started.relay.log.head.size;
    const liar = await diverge();
    assert.equal(failureOf(await asks(liar.url)).code, "CONSISTENCY_FALSE");
    must(await asks(started.url));
  });

  it("a restored backup is refused with LOG_BEHIND, nothing of it changed; and with LOG_FORKED once it went its own way", async () => {
    const before = failureOf(await openCopy());
    assert.equal(before.code, "LOG_BEHIND");
    assert.match(before.detail, /signed by this log's key$/);
    copied = must(await openCopy([]));
    await diverge();
    await copied.close();
    copied = undefined;
    assert.equal(failureOf(await openCopy()).code, "LOG_FORKED");
    assert.ok(existsSync(join(copy.path, "relay.json")));
  });

  it("a backup that started while its witness was away stops taking records when the witness shows what it lost", async () => {
    await witness.server.close();
    copied = must(await openCopy());
    const view = await get(`${copied.url}/v1/relay`);
    assert.equal(JSON.parse(fromUtf8(view.bytes)!).witnesses[0].failure, "WITNESS_UNREACHABLE");
    assert.equal((await get(`${copied.url}/readyz`)).status, 200, "none is wanted");
    await diverge();
    await witness.restart();
    await until("the fault", async () => (await get(`${copied!.url}/readyz`)).status === 503);
    const ready = await get(`${copied.url}/readyz`);
    assert.equal(ready.problem?.code, "LOG_FORKED");
    const size = copied.log.head.size;
    other.appendReadings(1);
    const refused = await other.send(copied.url, other.chain.length - 1);
    assert.equal(refused.problem?.code, "LOG_FORKED");
    await copied.close();
    assert.equal(copied.log.head.size, size, "the end of the run signed nothing either");
    copied = undefined;
  });

  it("under the log's next key the witness cosigns again once it was told of that key", async () => {
    await changeAndRestart(started, { withLogKey: true });
    const next = logKey();
    assert.deepEqual(linesOf(started.relay.log.head.checkpoint), [started.relay.identity.origin]);
    const failure = async () =>
      JSON.parse(fromUtf8((await get(`${started.url}/v1/relay`)).bytes)!).witnesses?.[0].failure;
    await started.restart({ witnesses: asked() });
    assert.equal(await failure(), "WITNESS_REFUSED");
    const former = witness.options.logs;
    await witness.restart({ logs: [...former, next] });
    await started.restart({ witnesses: asked() });
    await cosigned(started.relay);
    assert.equal(await failure(), undefined);
    const opened = must(openCheckpoint(relayCrypto, started.relay.log.head.checkpoint, next, [witness.key]));
    assert.equal(opened.cosignatures.length, 1);
  });

  it("refuses to start with more witnesses wanted than asked, and with one key twice", async () => {
    await started.relay.close();
    const open = (options: object) => Relay.open({ dataDir: started.folder, ...options });
    for (const options of [
      { witnesses: asked(), witnessesWanted: 2 },
      { witnesses: [...asked(), ...asked()] },
      { witnesses: [], witnessesWanted: 1 },
    ])
      assert.equal(failureOf(await open(options)).code, "WITNESS_OPTION_MALFORMED");
    await started.reopen({});
  });
});
