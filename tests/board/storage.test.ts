import assert from "node:assert/strict";
import fc from "fast-check";
import { FuseError } from "tallystick/identity/seeds";
import { FlashError } from "tallystick/journal/flash";
import { BoardFlash } from "../../hosts/board/flash.js";
import { boardFuses } from "../../hosts/board/fuses.js";
import { BoardKeyStore } from "../../hosts/board/key-value.js";
import { createPlatform } from "../../hosts/board/platform.js";
import { Operation, Status, WireFault } from "../../hosts/board/wire.js";
import { PowerCut } from "../../hosts/simulator/board.js";
import { EFuses } from "../../hosts/simulator/world/efuse.js";
import { HASH_ONLY, PlainCells } from "../world/rig.js";
import { wired } from "./wired.js";

describe("embedded:storage/flash over the wire", () => {
  it("opens by label and tells the partition's figures", () => {
    const { board } = wired();
    assert.deepEqual([...board.flash], ["chain"]);
    const flash = board.flash.open({ path: "chain" });
    assert.deepEqual(flash.status(), { size: 16_384, blockLength: 4096, blocks: 4, writeAlign: 1, eraseValue: 255 });
    assert.throws(() => board.flash.open({ path: "nothing" }), /no partition nothing/);
    assert.throws(() => board.flash.open({ path: "chain", mode: "w" as "r" }), RangeError);
    flash.close();
    assert.throws(() => flash.read(1, 0), /closed/);
  });

  it("reads back what it wrote, wherever it lies and however long it is", () => {
    fc.assert(
      fc.property(fc.nat(16_383), fc.uint8Array({ maxLength: 9_000 }), (offset, bytes) => {
        const { board, cells } = wired();
        const flash = board.flash.open({ path: "chain", mode: "r+" });
        const written = bytes.subarray(0, 16_384 - offset);
        flash.write(written, offset);
        assert.deepEqual(new Uint8Array(flash.read(written.length, offset)), written);
        assert.deepEqual(cells.bytes.subarray(offset, offset + written.length), written);
        const outside = cells.bytes.filter((_, at) => at < offset || at >= offset + written.length);
        assert.ok(outside.every((byte) => byte === 0xff));
      }),
      { numRuns: 60 },
    );
  });

  it("programs page by page, so that a cut lands between or within pages", () => {
    const { board, operations } = wired();
    board.flash.open({ path: "chain" }).write(new Uint8Array(600), 200);
    assert.equal(operations.filter((operation) => operation === Operation.flashWrite).length, 4, "56, 256, 256 and 32");
  });

  it("only clears bits until a block is erased", () => {
    const { board } = wired();
    const flash = board.flash.open({ path: "chain" });
    flash.write(Uint8Array.of(0xf0), 4096);
    flash.write(Uint8Array.of(0x3f), 4096);
    const into = new Uint8Array(1);
    assert.equal(flash.read(into, 4096), 1);
    assert.equal(into[0], 0x30);
    flash.write(Uint8Array.of(0), 8192);
    flash.eraseBlock(1, 3);
    assert.deepEqual(new Uint8Array(flash.read(1, 4096)), Uint8Array.of(0xff));
    assert.deepEqual(new Uint8Array(flash.read(1, 8192)), Uint8Array.of(0xff));
  });

  it("refuses what lies outside, and writing where it was opened for reading", () => {
    const { board } = wired();
    const flash = board.flash.open({ path: "chain" });
    assert.throws(() => flash.read(2, 16_383), /end of flash read/);
    assert.throws(() => flash.write(new Uint8Array(2), 16_383), /end of flash write/);
    assert.throws(() => flash.eraseBlock(4), /sector/);
    const readOnly = board.flash.open({ path: "chain", mode: "r" });
    assert.throws(() => readOnly.write(new Uint8Array(1), 0), /read-only/);
    assert.throws(() => readOnly.eraseBlock(0), /read-only/);
  });

  it("is the journal's flash: a fault of the chip is a FlashError, whole units or nothing", () => {
    const cells = new PlainCells(8192, 32);
    const { board } = wired({ flash: { chain: cells } });
    const flash = new BoardFlash(board.port, "chain");
    assert.deepEqual([flash.sizeBytes, flash.sectorBytes, flash.writeUnitBytes], [8192, 4096, 32]);
    flash.write(32, new Uint8Array(32));
    assert.throws(() => flash.write(33, new Uint8Array(32)), /whole units of 32/);
    assert.throws(() => flash.write(64, new Uint8Array(31)), /whole units of 32/);
    cells.broken = true;
    assert.throws(
      () => flash.write(64, new Uint8Array(32)),
      (error) => error instanceof FlashError && error.operation === "write" && error.offset === 64,
    );
    assert.throws(
      () => flash.erase(1),
      (error) => error instanceof FlashError && error.operation === "erase" && error.offset === 4096,
    );
  });
});

describe("embedded:storage/key-value over the wire", () => {
  it("keeps buffers and strings by domain and key", () => {
    const { board } = wired();
    const store = board.keyValue.open({ path: "settings" });
    assert.equal(store.read("missing"), undefined);
    store.write("b", Uint8Array.of(2, 3));
    store.write("a", new ArrayBuffer(0));
    assert.deepEqual(new Uint8Array(store.read("b") as ArrayBuffer), Uint8Array.of(2, 3));
    assert.equal((store.read("a") as ArrayBuffer).byteLength, 0);
    assert.deepEqual([...store], ["a", "b"]);
    const into = new Uint8Array(4);
    assert.equal(store.read("b", into), 2);
    assert.deepEqual([...into], [2, 3, 0, 0]);
    assert.throws(() => store.read("b", new Uint8Array(1)), RangeError);
    const text = board.keyValue.open({ path: "texts", format: "string" });
    text.write("greeting", "grüße");
    assert.equal(text.read("greeting"), "grüße");
    assert.throws(() => text.write("greeting", new Uint8Array(1)), TypeError);
    assert.throws(() => store.write("b", "text"), TypeError);
    assert.deepEqual([...text], ["greeting"]);
    store.delete("a");
    store.delete("a");
    assert.deepEqual([...store], ["b"]);
    store.close();
    assert.throws(() => store.read("b"), /closed/);
  });

  it("refuses names, values and modes that are not valid", () => {
    const { board } = wired();
    const store = board.keyValue.open({ path: "d" });
    for (const name of ["", "1234567890123456", "naïve", "a\n"]) {
      assert.throws(() => store.read(name), RangeError, name);
      assert.throws(() => board.keyValue.open({ path: name }), RangeError, name);
    }
    assert.throws(() => store.write("large", new Uint8Array(4_001)), RangeError);
    store.write("large", new Uint8Array(4_000).fill(9));
    assert.equal((store.read("large") as ArrayBuffer).byteLength, 4_000);
    assert.throws(() => board.keyValue.open({ path: "d", format: "uint8" as "buffer" }), RangeError);
    const readOnly = board.keyValue.open({ path: "d", mode: "r" });
    assert.throws(() => readOnly.delete("large"), /read-only/);
  });

  it("is the modules' key store, and never takes a fault for a missing key", () => {
    const { board, world } = wired();
    const keys = new BoardKeyStore(board.port, "tallystick");
    keys.write("seed", Uint8Array.of(1));
    assert.deepEqual(keys.read("seed"), Uint8Array.of(1));
    keys.delete("seed");
    assert.equal(keys.read("seed"), undefined);
    world.keys.write = () => {
      throw new Error("no space left");
    };
    assert.throws(() => keys.write("seed", Uint8Array.of(1)), /no space left/);
  });
});

describe("the fuses of a chip over the wire", () => {
  const key = new Uint8Array(32).fill(3);
  const present = () => wired({ fuses: new EFuses({ key }) });

  it("are not there where no key was burned: the board's seeds are stored", () => {
    const { board } = wired();
    assert.equal(boardFuses(board.port), undefined);
    assert.equal(createPlatform(board, HASH_ONLY).seeds, undefined);
    for (const act of [() => board.port.fuseBurn(0), () => board.port.fuseHmac(key)])
      assert.throws(act, (error) => error instanceof WireFault && error.status === Status.unavailable);
  });

  it("count generations from 1, and give HMACs of up to 64 bytes", () => {
    const { board, world } = present();
    const fuses = boardFuses(board.port)!;
    assert.deepEqual([fuses.generationsMax, fuses.generation()], [8, 0]);
    fuses.burn(1);
    fuses.burn(3);
    assert.equal(fuses.generation(), 3);
    assert.deepEqual(world.fuses!.read(), [1, 0, 1, 0, 0, 0, 0, 0]);
    fuses.burn(8);
    assert.equal(fuses.generation(), 8);
    for (const length of [1, 22, 64])
      assert.deepEqual(fuses.hmac(new Uint8Array(length)), world.fuses!.hmac(new Uint8Array(length)));
    assert.throws(() => fuses.hmac(new Uint8Array(65)), RangeError);
    assert.throws(() => fuses.burn(9), /fuse/);
  });

  it("say that one did not burn, and pass a cut of the power on", () => {
    const { board, world } = present();
    const fuses = boardFuses(board.port)!;
    world.fuses!.broken = true;
    assert.throws(
      () => fuses.burn(2),
      (error) =>
        error instanceof FuseError && error.code === "KEY_FUSES_FAILED" && /fuse 1: .*burn/.test(error.message),
    );
    world.fuses!.broken = false;
    world.power.plan({ operation: 1, moment: "before" });
    assert.throws(() => fuses.burn(2), PowerCut);
  });

  it("make the platform's seeds, beside those that are stored", () => {
    const { board } = present();
    const { seeds } = createPlatform(board, HASH_ONLY);
    assert.deepEqual(seeds!.draw(), Uint8Array.of(1, 0, 0, 0, 1));
    assert.deepEqual(seeds!.resolve(key), key);
  });
});

describe("the platform of a simulated board", () => {
  it("has what its world says", () => {
    const { board, printed } = wired();
    const platform = createPlatform(board, HASH_ONLY);
    assert.equal(platform.model, "simulator");
    assert.equal(platform.firmware.version, "0.1.0-test");
    assert.equal(platform.firmware.sha256.length, 32);
    assert.equal(platform.resetReason, 1);
    assert.equal(platform.entropy.bytes(256).length, 256);
    assert.throws(() => platform.entropy.bytes(257), /entropy/);
    assert.notDeepEqual(platform.entropy.bytes(32), platform.entropy.bytes(32));
    platform.print(`${"x".repeat(1_023)}é`);
    assert.equal(printed[0], "x".repeat(1_023), "cut at 1,024 bytes, between characters");
  });

  it("has a clock that is unset until it is set, and runs with uptime", async () => {
    const { board, time } = wired();
    const { clock } = createPlatform(board, HASH_ONLY);
    assert.deepEqual([clock.uptimeMs(), clock.state, clock.wallMs()], [0, 0, undefined]);
    await time.run(time.nowMs() + 2 ** 33);
    assert.equal(clock.uptimeMs(), 2 ** 33);
    clock.set(1_700_000_000_123, 3);
    assert.deepEqual([clock.state, clock.wallMs()], [3, 1_700_000_000_123]);
    await time.run(time.nowMs() + 500);
    assert.equal(clock.wallMs(), 1_700_000_000_623);
    assert.throws(() => clock.set(1, 0), /clock state/);
  });
});
