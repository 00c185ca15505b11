import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { fromDidKey } from "tallystick/identity/key";
import type { Vouched } from "tallystick/record/maker";
import { readGenesis } from "tallystick/record/payload";
import { readMaker, readToken, writeMaker, writeToken } from "tallystick/sync/enrolment";
import { writeRelayPins } from "tallystick/sync/relay-pins";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { ESP32_C3, loadEngine } from "../../hosts/simulator/board.js";
import type { Lane } from "../../hosts/simulator/lane.js";
import { laneA } from "../../hosts/simulator/lane-a.js";
import { buildBoardImage, laneB } from "../../hosts/simulator/lane-b.js";
import { ensureEngine } from "../../tools/engine/build.js";
import { newEngine } from "../engine/boards.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { MANY_ATTEMPTS, must, StartedRelay } from "../relay/started.js";
import { Bench, parsed } from "./bench.js";
import rotating from "./rotating-application.js";

const MINUTE = 60_000;
/** Slots of the JavaScript stack that the runtime leaves to a maker's own hooks and drivers. */
const SPARE_SLOTS = 16;

/** A device that is let in by its maker's word: it makes its key, waits for the statement, and then begins. */
describe("a device with a maker", function () {
  this.timeout(180_000);
  const maker = new FixtureMaker(relayCrypto);
  let started: StartedRelay;
  let bench: Bench;
  let seed = 900;

  before(async () => {
    started = await StartedRelay.start({ makers: [maker.publicKey], attempts: MANY_ATTEMPTS });
  });
  after(() => started.close());
  beforeEach(() => provision(new Bench({ seed: seed++, sectors: 8 })));
  afterEach(() => bench.close());

  /** What is written before a board's first start, where its maker will sign for the key. */
  function provision(made: Bench): void {
    bench = made;
    const { origin, logKey } = started.relay.identity;
    writeRelayPins(bench.keys, { origin, deviceKey: started.key, logKey });
    writeMaker(bench.keys, "awaited");
    bench.connect(started.url);
  }

  /** What the board's first start tells a person, who takes it to the maker. */
  function told(): { publicKey: Uint8Array; chip: Uint8Array; firmwareSha256: Uint8Array } {
    const line = bench.lines.find((one) => one.includes("code=MAKER_AWAITED"));
    const found = /for (did:key:\w+), chip ([0-9a-f]+), firmware ([0-9a-f]+),/.exec(line ?? "");
    assert.ok(found, bench.lines.join("\n"));
    return {
      publicKey: fromDidKey(found[1]!)!,
      chip: fromHex(found[2]!)!,
      firmwareSha256: fromHex(found[3]!)!,
    };
  }

  function vouch(change: Partial<Vouched> = {}): Uint8Array {
    const { publicKey, ...rest } = told();
    return maker.vouch(publicKey, { ...rest, ...change });
  }

  /** A start that is refused: it commits and sends nothing. */
  async function refusedStart(code: string): Promise<void> {
    const [held, sent, codes] = [bench.held.length, bench.network.requests.length, bench.codes.length];
    await bench.powerOn();
    await bench.run(5 * MINUTE);
    assert.deepEqual(bench.codes.slice(codes), [code]);
    assert.equal(bench.held.length, held);
    assert.equal(bench.network.requests.length, sent);
    await bench.cutPower();
  }

  async function enrolled(): Promise<void> {
    await bench.powerOn();
    await bench.until("the enrolment", () => readMaker(bench.keys) === undefined);
    await bench.checkNothingLost(started);
  }

  function statementAtRelay(): Uint8Array | undefined {
    const genesis = readGenesis(parsed(bench.recordsAt(started.relay)[0]!).payload);
    assert.ok(genesis.ok);
    return genesis.value.statement;
  }

  it("makes its key once, says which, and waits at each start until the statement is there", async () => {
    await refusedStart("MAKER_AWAITED");
    const key = bench.lines.find((line) => line.includes("event=key"))!;
    const { publicKey, chip } = told();
    assert.match(key, new RegExp(`event=key kid=${bench.kid} did=did:key:z6Mk\\w+ chip=${toHex(chip)}$`));
    assert.equal(toHex(chip), "0254414c5901");
    await refusedStart("MAKER_AWAITED");
    await refusedStart("MAKER_AWAITED");
    assert.equal(bench.lines.filter((line) => line.includes("event=key")).length, 1);
    assert.deepEqual(told().publicKey, publicKey);

    const statement = vouch({ text: "batch 7" });
    writeMaker(bench.keys, statement);
    await enrolled();
    assert.deepEqual(statementAtRelay(), statement);
    assert.equal(bench.network.requests.filter(({ path }) => path === "/v1/devices").length, 1);
    // The next start asks nobody.
    await bench.cutPower();
    await bench.powerOn();
    await bench.checkNothingLost(started);
    assert.ok(!bench.codes.some((code) => code !== "MAKER_AWAITED"), bench.codes.join());
  });

  it("takes no statement for another key, chip or firmware, nor what is none", async () => {
    await refusedStart("MAKER_AWAITED");
    for (const [code, statement] of [
      ["MAKER_MISMATCH", vouch({ publicKey: relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(5)) })],
      ["MAKER_MISMATCH", vouch({ chip: new Uint8Array(6) })],
      ["MAKER_MISMATCH", vouch({ firmwareSha256: new Uint8Array(32) })],
      ["MAKER_MALFORMED", vouch({ chip: new Uint8Array(17) })],
      ["MAKER_MALFORMED", Uint8Array.of(1)],
      ["MAKER_MALFORMED", new Uint8Array(0)],
    ] as const) {
      writeMaker(bench.keys, statement);
      await refusedStart(code);
    }
    writeMaker(bench.keys, vouch());
    await enrolled();
  });

  it("begins its chain without a network, and brings what genesis carries, whatever was written since", async () => {
    await refusedStart("MAKER_AWAITED");
    const statement = vouch();
    writeMaker(bench.keys, statement);
    bench.disconnect();
    await bench.powerOn();
    await bench.until("a chain", () => bench.headSeq > 3);
    await bench.cutPower();
    writeMaker(bench.keys, vouch({ text: "signed once more" }));
    // An update of the firmware meanwhile is nothing that a chain which has begun would stop for.
    Object.assign(bench.world.firmware, { sha256: new Uint8Array(32).fill(6) });
    bench.connect(started.url);
    await enrolled();
    assert.deepEqual(statementAtRelay(), statement);
  });

  it("with a token too comes by the token, and carries the statement all the same", async () => {
    await refusedStart("MAKER_AWAITED");
    const stranger = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x66));
    const { publicKey, ...rest } = told();
    const statement = stranger.vouch(publicKey, rest);
    writeMaker(bench.keys, statement);
    writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
    await enrolled();
    assert.equal(readToken(bench.keys), undefined);
    assert.deepEqual(statementAtRelay(), statement);
  });

  it("records on where the relay does not know its maker, and is let in by a token then", async () => {
    await refusedStart("MAKER_AWAITED");
    const stranger = new FixtureMaker(relayCrypto, new Uint8Array(32).fill(0x66));
    const { publicKey, ...rest } = told();
    writeMaker(bench.keys, stranger.vouch(publicKey, rest));
    await bench.powerOn();
    await bench.until("records", () => bench.headSeq >= 20);
    assert.ok(
      bench.codes.slice(1).every((code) => code === "MAKER_UNKNOWN"),
      bench.codes.join(),
    );
    await bench.cutPower();
    writeToken(bench.keys, new Uint8Array(Buffer.from(started.token())));
    await enrolled();
  });

  it("does not carry the statement on to the key that it rotates to", async () => {
    await bench.close();
    provision(new Bench({ seed: seed++, sectors: 8, lane: laneA(rotating, relayCrypto) }));
    await refusedStart("MAKER_AWAITED");
    const statement = vouch();
    writeMaker(bench.keys, statement);
    await bench.powerOn();
    const isRotated = () => bench.held.some(({ kind }) => kind === "rotate") && bench.held.at(-1)!.kind === "readings";
    for (let round = 0; round < 100 && !isRotated(); round++) {
      await bench.run(5000, isRotated);
      await started.settled();
    }
    assert.ok(isRotated(), bench.lines.slice(-12).join("\n"));
    const [first, second] = bench.held.filter(({ kind }) => kind === "genesis");
    assert.notEqual(second!.kid, first!.kid);
    const carried = [first, second].map(({ kid }: { kid: string | undefined } = { kid: undefined }) => {
      const device = started.relay.store.deviceByKid(fromHex(kid!)!)!;
      return must(readGenesis(parsed(started.relay.store.recordAt(device.device, 0)!.bytes).payload)).statement;
    });
    assert.deepEqual(carried, [statement, undefined]);
  });

  it("comes to the same end wherever the power is cut, before and after the statement is there", async () => {
    for (let operation = 1; ; operation++) {
      let cut = 0;
      await bench.close();
      provision(new Bench({ seed: seed++, sectors: 8, writeUnitBytes: operation % 2 ? 1 : 32 }));
      for (const statement of [false, true]) {
        bench.world.power.plan({ operation, moment: (["before", "within", "after"] as const)[operation % 3]! });
        await bench.powerOn();
        await bench.run(MINUTE, () => bench.simulation.state === "off");
        if (bench.simulation.state === "off") cut++;
        bench.world.power.plan(undefined);
        await bench.cutPower();
        if (statement) continue;
        // A formatting that was cut is begun again, and a key that is there is kept.
        await bench.powerOn();
        await bench.run(MINUTE);
        await bench.cutPower();
        assert.equal(bench.codes.at(-1), "MAKER_AWAITED", bench.lines.join("\n"));
        writeMaker(bench.keys, vouch());
      }
      await bench.powerOn();
      await bench.until("the enrolment", () => readMaker(bench.keys) === undefined);
      // The key's line may have been lost to the cut; this start tells whose chain it is.
      await bench.cutPower();
      await enrolled();
      if (operation > 40 || cut === 0) break;
    }
  });

  it("does the same on XS, in a board's memory and stack", async function () {
    await newEngine.call(this);
    const engine = loadEngine(await ensureEngine());
    const image = await buildBoardImage(engine, fileURLToPath(new URL("../world/attic.ts", import.meta.url)));
    const lane: Lane = laneB(engine, image, { stackSlots: ESP32_C3.stackSlots - SPARE_SLOTS });
    await bench.close();
    provision(new Bench({ seed: seed++, sectors: 8, lane }));
    await refusedStart("MAKER_AWAITED");
    const ownerKey = relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(8));
    writeMaker(bench.keys, vouch({ ownerKey, text: "x".repeat(64) }));
    await enrolled();
    assert.deepEqual(
      bench.ends.filter(({ kind }) => kind !== "power-cut"),
      [],
    );
  });
});
