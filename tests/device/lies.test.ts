import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8, toHex, utf8 } from "tallystick/bytes/bytes";
import type { Identity } from "tallystick/identity/identity";
import { formatCheckpoint, openCheckpoint } from "tallystick/log/checkpoint";
import { formatNote, parseVerifierKey, signedMessage } from "tallystick/log/note";
import { consistencyPlan, readPath } from "tallystick/merkle/proof";
import { decodeCbor } from "tallystick/record/cbor";
import { type Acknowledgement, makeAcknowledgement, readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../hosts/relay/keys.js";
import type { NetworkAnswer, NetworkRequest } from "../../hosts/simulator/world/network.js";
import { FixtureDevice } from "../fixtures/device.js";
import { must, StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const MINUTE = 60_000;
const { sha256, ed25519 } = relayCrypto;

/** A relay that has its keys and does not tell the truth, or someone on the way who has none: nothing is released for it. */
describe("a device and a relay that lies", () => {
  let started: StartedRelay;
  let relayKey: Identity;
  let bench: Bench;
  let seed = 201;

  before(async () => {
    started = await StartedRelay.start();
    relayKey = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
  });
  after(() => started.close());
  beforeEach(async () => {
    bench = new Bench({ seed: seed++ });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 5);
    await bench.climb(started);
  });
  afterEach(() => bench.close());

  const sign = (key: Identity) => (bytes: Uint8Array) => must(key.sign(bytes));

  function acknowledgementOf(bytes: Uint8Array): Acknowledgement {
    return must(readAcknowledgement(bytes)).acknowledgement;
  }

  /** The honest answer with `change` in it, signed by the relay's own key. */
  function resigned(change: (honest: Acknowledgement) => Partial<Acknowledgement>, key = relayKey) {
    return (bytes: Uint8Array) => {
      const honest = acknowledgementOf(bytes);
      return makeAcknowledgement(relayKey.kid, { ...honest, ...change(honest) }, sign(key));
    };
  }

  /** The same without its levels. */
  function levelless({ received, logged, final, ...rest }: Acknowledgement): Acknowledgement {
    return rest;
  }

  /** A checkpoint of the log's own key over a tree that never was. */
  function forkedCheckpoint({ checkpoint }: Acknowledgement, growth: number): string {
    const folder = pathsOf(started.folder);
    const text = readFileSync(join(folder.log, "key"), "utf8").trim();
    const logSeed = new Uint8Array(Buffer.from(text.split("+").slice(4).join("+"), "base64").subarray(1));
    const key = must(parseVerifierKey(sha256, started.relay.identity.logKey));
    const { size } = must(openCheckpoint(relayCrypto, utf8(checkpoint), key));
    const forked = formatCheckpoint({ origin: key.name, size: size + growth, root: new Uint8Array(32).fill(6) });
    const signature = ed25519.sign(signedMessage(forked, undefined), logSeed, ed25519.publicKey(logSeed));
    return fromUtf8(formatNote({ text: forked, signatures: [{ name: key.name, id: key.id, signature }] }))!;
  }

  /** Lies until the device has said so several times; then tells the truth again, and all is as if nothing had been. */
  async function unmoved(lie: (bytes: Uint8Array, request: NetworkRequest) => Uint8Array, codes: readonly string[]) {
    const pin = toHex(bench.keys.read("pin")!);
    const reported = bench.lines.length;
    const before = bench.codes.length;
    const head = bench.headSeq;
    bench.network.alter = (request, answer): NetworkAnswer =>
      answer.outcome === "answered" && answer.status === 200 && request.method === "POST"
        ? { ...answer, body: lie(answer.body, request) }
        : answer;
    await bench.until("a refusal", () => bench.codes.length >= before + 3);
    assert.deepEqual([...new Set(bench.codes.slice(before))], codes);
    assert.equal(toHex(bench.keys.read("pin")!), pin, "the pinned checkpoint moved");
    const believed = bench.lines.slice(reported).filter((line) => line.includes("event=acknowledged"));
    assert.deepEqual(believed, [], "an acknowledgement was believed");
    await bench.until("records meanwhile", () => bench.headSeq > head + 2);
    bench.network.alter = undefined;
    const told = bench.codes.length;
    await bench.checkNothingLost(started);
    assert.equal(bench.codes.length, told, "the honest relay is believed at once");
  }

  it("replays its last answer", async () => {
    let last: Uint8Array | undefined;
    bench.network.alter = (request, answer) => {
      if (answer.outcome === "answered" && request.method === "POST") last = answer.body;
      return answer;
    };
    await bench.until("an answer", () => last !== undefined);
    await unmoved(() => last!, ["ACKNOWLEDGEMENT_FALSE"]);
  });

  it("answers with what it told another device", async () => {
    const other = await started.device();
    await unmoved(
      resigned(() => ({ kid: other.identity.kid })),
      ["ACKNOWLEDGEMENT_FALSE"],
    );
  });

  it("signs under another key's name", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto }).identity;
    await unmoved(
      (bytes) => makeAcknowledgement(other.kid, acknowledgementOf(bytes), sign(relayKey)),
      ["ACKNOWLEDGEMENT_FALSE"],
    );
  });

  it("signs with another key, under its own name", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto }).identity;
    await unmoved(
      resigned(() => ({}), other),
      ["ACKNOWLEDGEMENT_FALSE"],
    );
  });

  it("signs with another key, under that key's name", async () => {
    const other = new FixtureDevice({ crypto: relayCrypto }).identity;
    await unmoved(
      (bytes) => makeAcknowledgement(other.kid, acknowledgementOf(bytes), sign(other)),
      ["ACKNOWLEDGEMENT_FALSE"],
    );
  });

  it("loses one bit of each answer on the way", async () => {
    let at = 0;
    bench.network.alter = (request, answer) => {
      if (answer.outcome !== "answered" || answer.status !== 200 || request.method !== "POST") return answer;
      const body = answer.body.slice();
      at = (at + 97) % body.length;
      body[at]! ^= 0x10;
      return { ...answer, body };
    };
    const pin = toHex(bench.keys.read("pin")!);
    const reported = bench.lines.length;
    const before = bench.network.requests.length;
    await bench.until("answers", () => bench.network.requests.length > before + 9, 120 * MINUTE);
    assert.ok(!bench.lines.slice(reported).some((line) => line.includes("event=acknowledged")));
    assert.equal(toHex(bench.keys.read("pin")!), pin);
    bench.network.alter = undefined;
    await bench.checkNothingLost(started);
  });

  it("shows a checkpoint from before", async () => {
    const old = acknowledgementOf(await newestAnswer()).checkpoint;
    await bench.climb(started);
    await bench.until("a newer pin", () => pinnedSize() > sizeOf(old));
    await unmoved(
      resigned(() => ({ checkpoint: old, consistency: [] })),
      ["CHECKPOINT_STALE"],
    );
  });

  it("shows a path that does not lead from the pinned checkpoint", async () => {
    await unmoved(
      resigned((honest) => ({
        checkpoint: forkedCheckpoint(honest, 0),
        consistency: honest.consistency.map(() => new Uint8Array(32).fill(3)),
      })),
      ["CONSISTENCY_FALSE"],
    );
  });

  it("has the log's key sign another history", async () => {
    await unmoved(
      resigned((honest) => ({
        checkpoint: forkedCheckpoint(honest, 1000),
        consistency: readPath(
          sha256,
          consistencyPlan(honest.pinnedSize, sizeOf(honest.checkpoint) + 1000),
          ({ level }) => new Uint8Array(32).fill(level),
        ),
      })),
      ["CONSISTENCY_FALSE"],
    );
  });

  it("shows a checkpoint that the log did not sign", async () => {
    await unmoved(
      resigned(({ checkpoint }) => ({ checkpoint: checkpoint.replace(/\n(\d+)\n/, (_, size) => `\n${+size + 1}\n`) })),
      ["SIGNATURE_INVALID"],
    );
  });

  for (const level of ["received", "logged", "final"] as const)
    it(`says that it has ${level} a record that is not the device's`, async () => {
      await unmoved(
        resigned(({ received }) => ({
          [level]: { seq: level === "received" ? received!.seq : 2, id: new Uint8Array(32) },
        })),
        ["ACKNOWLEDGEMENT_FALSE"],
      );
    });

  it("says that more is logged than received", async () => {
    await unmoved(
      (bytes) => {
        const honest = acknowledgementOf(bytes);
        return makeAcknowledgement(relayKey.kid, { ...levelless(honest), logged: honest.received! }, sign(relayKey));
      },
      ["ACKNOWLEDGEMENT_FALSE"],
    );
  });

  it("claims positions above the head, and has no record to show for them", async () => {
    await unmoved(
      resigned(({ received }) => ({ received: { seq: received!.seq + 1000, id: new Uint8Array(32).fill(1) } })),
      ["DEVICE_BEHIND"],
    );
  });

  it("tells a time that is none", async () => {
    for (const timeMs of [0, 1, 999_999_999, 2 ** 37 * 1000])
      await unmoved(
        resigned(() => ({ timeMs })),
        ["ACKNOWLEDGEMENT_FALSE"],
      );
  });

  it("leaves out what it has received", async () => {
    // It says so in words that hold; what counts is that the device does not ask without end, and goes on after.
    bench.network.alter = (request, answer) =>
      answer.outcome === "answered" && answer.status === 200 && request.method === "POST"
        ? {
            ...answer,
            body: makeAcknowledgement(relayKey.kid, levelless(acknowledgementOf(answer.body)), sign(relayKey)),
          }
        : answer;
    const asked = bench.network.requests.length;
    const told = bench.codes.length;
    await bench.run(4 * MINUTE);
    const { length } = bench.network.requests;
    assert.ok(length - asked < 30, `${length - asked} requests in four minutes`);
    assert.deepEqual([...new Set(bench.codes.slice(told))], ["RELAY_BEHIND"]);
    bench.network.alter = undefined;
    await bench.checkNothingLost(started);
  });

  it("gives a rolled-back device another's records, or its own out of order", async () => {
    const snapshot = bench.flash.snapshot();
    await bench.until("records", () => bench.headSeq >= 20);
    await bench.climb(started);
    await bench.cutPower();
    bench.flash.restore(snapshot);
    const other = await started.device();
    const own = bench.recordsAt(started.relay);
    const pages: readonly Uint8Array[] = [
      Buffer.concat([other.chain[0]!]),
      own[own.length - 1]!,
      Buffer.concat([own[2]!]),
      new Uint8Array(3000).fill(0x5a),
      new Uint8Array(0),
    ];
    let next = 0;
    bench.network.alter = (request, answer) =>
      request.method === "GET" && answer.outcome === "answered"
        ? { ...answer, body: pages[next++ % pages.length]! }
        : answer;
    const flash = toHex(bench.flash.snapshot().cells);
    const reported = bench.held.length;
    await bench.powerOn();
    await bench.until("every lie told twice", () => next >= 2 * pages.length, 120 * MINUTE);
    assert.equal(bench.held.length, reported);
    assert.equal(toHex(bench.flash.snapshot().cells), flash);
    bench.network.alter = undefined;
    await bench.until("records", () => bench.held.length > reported);
    await bench.checkNothingLost(started);
  });

  async function newestAnswer(): Promise<Uint8Array> {
    let body: Uint8Array | undefined;
    bench.network.alter = (request, answer) => {
      if (answer.outcome === "answered" && request.method === "POST") body ??= answer.body;
      return answer;
    };
    await bench.until("an answer", () => body !== undefined);
    bench.network.alter = undefined;
    return body!;
  }

  function pinnedSize(): number {
    const pin = decodeCbor(bench.keys.read("pin")!);
    return (must(pin) as [number, Uint8Array])[0];
  }

  function sizeOf(checkpoint: string): number {
    return Number(checkpoint.split("\n")[1]);
  }
});
