import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import type { Code } from "tallystick/codes/codes";
import { RELAY_KEY_MAX_BYTES } from "tallystick/log/relay-key";
import { RELAY_KEYS_MAX } from "tallystick/sync/relay-key";
import { readRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../hosts/relay/keys.js";
import type { NetworkAnswer } from "../../hosts/simulator/world/network.js";
import { keyOf, stateKey, TREE } from "../fixtures/relay-keys.js";
import { changeAndRestart, RECOVERY, startRecoverable } from "../relay/key-change.js";
import { must, type StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

const MINUTE = 60_000;
const thief = keyOf(9);

/** Who stands between a device and its relay, whose keys have just changed, and tells the device of other ones. */
describe("a device that is lied to about its relay's keys", function () {
  this.timeout(120_000);
  let started: StartedRelay;
  let bench: Bench;
  let statement: Uint8Array;
  let seed = 820;

  beforeEach(async () => {
    started = await startRecoverable();
    // A record a minute: what lies make the device wait for is longer than a small journal lasts.
    bench = new Bench({ seed: seed++, sectors: 256, device: { maxAgeMs: MINUTE } });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 3);
    await bench.climb(started);
  });
  afterEach(async () => {
    await bench.close();
    await started.close();
  });

  const at = (generation: number) => {
    const { origin, logKey } = started.relay.identity;
    return { origin, logKey, generation };
  };

  const asksOf = () => bench.network.requests.filter(({ path }) => path.startsWith("/v1/relay/keys"));

  /** The relay's answer becomes `answer`; gives what the device tells, having seen that nothing else came of it. */
  async function told(answer: (honest: Uint8Array) => Uint8Array): Promise<string[]> {
    const pins = toHex(bench.keys.read("relay")!);
    const codes = bench.codes.length;
    const lines = bench.lines.length;
    const asked = asksOf().length;
    bench.network.alter = (request, honest): NetworkAnswer =>
      request.path.startsWith("/v1/relay/keys") && honest.outcome === "answered"
        ? { ...honest, status: 200, body: answer(honest.body) }
        : honest;
    await bench.until("refusals", () => bench.codes.length >= codes + 3, 60 * MINUTE);
    assert.ok(asksOf().length - asked <= bench.codes.length - codes + 1, "it asks once a failure");
    assert.equal(toHex(bench.keys.read("relay")!), pins, "pins changed");
    const believed = bench.lines.slice(lines).filter((line) => /event=(acknowledged|relay-key)/.test(line));
    assert.deepEqual(believed, []);
    bench.network.alter = undefined;
    return [...new Set(bench.codes.slice(codes))];
  }

  /** The truth is followed at once, and nothing was lost meanwhile. */
  async function checkTruth(): Promise<void> {
    const { generation } = started.pins;
    const pinsOf = () => must(readRelayPins(bench.keys, relayCrypto.sha256));
    await bench.until("the newest pins", () => pinsOf().generation === generation, 60 * MINUTE);
    assert.equal(toHex(pinsOf().deviceKey), toHex(started.key));
    await bench.checkNothingLost(started);
  }

  it("keeps its pins: old statements, others' statements, no statements, too many, too long, cut", async () => {
    const former = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
    await changeAndRestart(started);
    bench.connect(started.url);
    await bench.until("the first rotation", () => bench.lines.some((line) => line.includes("generation=1 ")));
    await bench.climb(started);
    const replayed = stateKey(former, keyOf(2), at(1));
    const present = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
    await changeAndRestart(started, { withLogKey: true });
    bench.connect(started.url);

    const lies: readonly (readonly [string, (honest: Uint8Array) => Uint8Array, Code])[] = [
      ["replayed", () => replayed, "RELAY_KEY_STALE"],
      ["for another relay", () => stateKey(present, thief, { ...at(2), origin: "other" }), "RELAY_KEY_FALSE"],
      ["a stranger's", () => stateKey(thief, thief, at(2)), "RELAY_KEY_FALSE"],
      ["by a former key", () => stateKey(former, thief, at(2)), "RELAY_KEY_FALSE"],
      ["too far ahead", () => stateKey(present, thief, at(1024)), "RELAY_KEY_FALSE"],
      ["without possession", () => stateKey(present, thief, at(2), present), "RELAY_KEY_FALSE"],
      ["by a stranger for recovery", () => stateKey(thief, thief, { ...at(1024), tree: TREE }), "RELAY_KEY_FALSE"],
      ["a recovery from before", () => stateKey(RECOVERY, thief, { ...at(0), tree: TREE }), "STATEMENT_MALFORMED"],
      ["none", () => new Uint8Array(0), "ACKNOWLEDGEMENT_FALSE"],
      ["cut", (honest) => honest.subarray(0, -1), "CBOR_INVALID"],
      ["with a flipped bit", (honest) => honest.map((byte, i) => (i === 200 ? byte ^ 1 : byte)), "SIGNATURE_INVALID"],
      ["noise", () => new Uint8Array(RELAY_KEY_MAX_BYTES).fill(0xa5), "CBOR_INVALID"],
      [
        "too many",
        (honest) => Buffer.concat([...new Array(RELAY_KEYS_MAX).fill(replayed), honest]),
        "MESSAGE_MALFORMED",
      ],
    ];
    for (const [what, answer, code] of lies) assert.deepEqual(await told(answer), [code], what);
    await checkTruth();
  });

  it("keeps them where the answer is longer than any, or is an error, or does not come", async () => {
    await changeAndRestart(started);
    bench.connect(started.url);
    const { target } = bench.network;
    const answers: readonly NetworkAnswer[] = [
      { outcome: "answered", status: 404, body: new Uint8Array(0) },
      { outcome: "answered", status: 503, body: new Uint8Array(0) },
      { outcome: "timed-out", detail: "no answer" },
    ];
    for (const answer of answers) {
      bench.network.target = {
        request: (request, signal) =>
          request.path.startsWith("/v1/relay/keys") ? Promise.resolve(answer) : target!.request(request, signal),
      };
      assert.deepEqual(await told((honest) => honest), ["ACKNOWLEDGEMENT_FALSE"], JSON.stringify(answer));
    }
    // What is longer than a device takes is cut off by its own network.
    bench.network.target = {
      request: async (request, signal) => {
        if (!request.path.startsWith("/v1/relay/keys")) return target!.request(request, signal);
        assert.equal(request.maxResponseBytes, RELAY_KEYS_MAX * RELAY_KEY_MAX_BYTES);
        return { outcome: "too-long", detail: `the answer is longer than ${request.maxResponseBytes} bytes` };
      },
    };
    assert.deepEqual(await told((honest) => honest), ["ACKNOWLEDGEMENT_FALSE"]);
    bench.network.target = target;
    await checkTruth();
  });

  it("is not led on and on: a thief's statements come as slowly as failures", async () => {
    let present = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
    statement = stateKey(present, present, at(1));
    let generation = 0;
    await changeAndRestart(started, { recovery: RECOVERY });
    bench.connect(started.url);
    const writes = bench.lines.length;
    bench.network.alter = (request, honest): NetworkAnswer => {
      if (!request.path.startsWith("/v1/relay/keys") || honest.outcome !== "answered") return honest;
      const next = keyOf(100 + (++generation % 100));
      statement = stateKey(present, next, at(generation));
      present = next;
      return { ...honest, body: statement };
    };
    await bench.run(30 * MINUTE);
    const followed = bench.lines.slice(writes).filter((line) => line.includes("event=relay-key"));
    assert.ok(followed.length > 3 && followed.length < 20, `${followed.length} in half an hour`);
    bench.network.alter = undefined;
    await checkTruth();
  });
});
