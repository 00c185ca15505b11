import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { utf8 } from "tallystick/bytes/bytes";
import { parseVerifierKey } from "tallystick/log/note";
import { WITNESS_NAME_MAX_BYTES, WITNESSES_MAX } from "tallystick/log/witness";
import { decodeCbor } from "tallystick/record/cbor";
import { STATEMENT_MAX_BYTES } from "tallystick/record/statement";
import { readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { Bench } from "../device/bench.js";
import { newEngine } from "../engine/boards.js";
import { StartedRelay } from "../relay/started.js";
import { must, StartedWitness } from "./fixture.js";
import { linesOf, until } from "./lying.js";

/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;
/** Entries that are in the log before the device comes: its path is then as long as any it may see here. */
const MANY_RECORDS = 300;

/** As many witnesses as a relay may ask, of the longest names: the largest acknowledgement that there can be. */
describe("devices: an acknowledgement with all cosignatures that there can be", function () {
  this.timeout(300_000);
  let started: StartedRelay;
  const witnesses: StartedWitness[] = [];

  before(async () => {
    started = await StartedRelay.start();
    const logKey = must(parseVerifierKey(relayCrypto.sha256, started.relay.identity.logKey));
    for (let i = 0; i < WITNESSES_MAX; i++) {
      const name = `witness-${i}.example/`.padEnd(WITNESS_NAME_MAX_BYTES, "w");
      witnesses.push(await StartedWitness.start([logKey], name));
    }
    await started.restart({ witnesses: witnesses.map(({ url, key }) => ({ url, key })) });
    const many = await started.device();
    many.appendReadings(MANY_RECORDS);
    for (let from = 0; from < many.chain.length; from += 100)
      many.read(await many.send(started.url, from, Math.min(from + 99, many.chain.length - 1)), started.key);
    await started.settled();
  });
  after(async () => {
    await started.close();
    for (const witness of witnesses) await witness.close();
  });

  async function check(bench: Bench): Promise<number> {
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 4);
    await bench.climb(started);
    // While the device is away, so that the next answer is about the tree that all have cosigned.
    bench.disconnect();
    await until("all cosignatures", () => linesOf(started.relay.log.head.checkpoint).length === 1 + WITNESSES_MAX);
    let carried: { readonly size: number; readonly bytes: number } | undefined;
    bench.network.alter = (request, answer) => {
      if (answer.outcome !== "answered" || answer.status !== 200 || request.method !== "POST") return answer;
      const { checkpoint } = must(readAcknowledgement(answer.body)).acknowledgement;
      if (linesOf(utf8(checkpoint)).length === 1 + WITNESSES_MAX)
        carried ??= { size: Number(checkpoint.split("\n")[1]), bytes: answer.body.length };
      return answer;
    };
    const pinned = () => {
      const pin = decodeCbor(bench.keys.read("pin")!);
      assert.ok(pin.ok);
      return (pin.value as [number, Uint8Array])[0];
    };
    const told = bench.codes.length;
    bench.connect(started.url);
    await bench.until("an acknowledgement with all", () => carried !== undefined);
    await bench.until("its checkpoint as the pin", () => pinned() >= carried!.size);
    await bench.checkNothingLost(started);
    assert.deepEqual(bench.codes.slice(told), [], "nothing was refused");
    assert.deepEqual(bench.ends, [], "it never crashed");
    assert.ok(carried!.bytes > WITNESSES_MAX * WITNESS_NAME_MAX_BYTES && carried!.bytes <= STATEMENT_MAX_BYTES);
    return carried!.bytes;
  }

  it("is accepted on Node", async () => {
    const bench = new Bench({ seed: 901 });
    try {
      await check(bench);
    } finally {
      await bench.close();
    }
  });

  it("is accepted on XS, in a machine of an ESP32-C3's figures", async function () {
    await newEngine.call(this);
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(
      engine,
      fileURLToPath(new URL("../device/gap-application.ts", import.meta.url)),
    );
    const lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    const bench = new Bench({ seed: 902, lane });
    try {
      await check(bench);
    } finally {
      await bench.close();
    }
  });
});
