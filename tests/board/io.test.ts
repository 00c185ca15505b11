import assert from "node:assert/strict";
import { Operation } from "../../hosts/board/wire.js";
import { Pins } from "../../hosts/simulator/world/pins.js";
import { START_MS } from "../world/rig.js";
import { wired } from "./wired.js";

describe("embedded:io/i2c and smbus over the wire", () => {
  it("writes, reads, and does both with a repeated start", () => {
    const { board, chip, operations } = wired();
    const i2c = new board.I2C({ bus: 0, address: 0x40, hz: 100_000 });
    i2c.write(Uint8Array.of(3, 0xaa, 0xbb));
    assert.deepEqual([...chip.registers.subarray(3, 5)], [0xaa, 0xbb]);
    i2c.write(Uint8Array.of(3));
    assert.deepEqual(new Uint8Array(i2c.read(2) as ArrayBuffer), Uint8Array.of(0xaa, 0xbb));
    const into = new Uint8Array(2);
    assert.equal(i2c.writeRead(Uint8Array.of(4).buffer, into), into);
    assert.deepEqual([...into], [0xbb, 0]);
    assert.deepEqual(new Set(operations), new Set([Operation.i2cTransfer]));
    i2c.close();
    assert.throws(() => i2c.read(1), /closed/);
  });

  it("throws where nothing acknowledges", () => {
    const { board, world } = wired();
    const nobody = new board.I2C({ address: 0x41 });
    assert.throws(() => nobody.read(1), /bus 0, address 0x41: no acknowledge/);
    assert.throws(() => nobody.write(new Uint8Array(0)), /no acknowledge/);
    const chip = new board.I2C({ address: 0x40 });
    chip.write(new Uint8Array(0));
    assert.throws(() => chip.write(Uint8Array.of(200)), /no acknowledge/, "a refused register");
    world.i2c[0]!.detach(0x40);
    assert.throws(() => chip.read(1), /no acknowledge/, "a chip that was unplugged");
  });

  it("refuses options that are not valid, and an address that is open", () => {
    const { board } = wired();
    for (const options of [
      {},
      { address: 128 },
      { address: -1 },
      { address: 1.5 },
      { address: 1, bus: "A" },
      { address: 1, bus: 256 },
      { address: 1, hz: 0 },
      { address: 1, format: "number" },
    ])
      assert.throws(() => new board.I2C(options), RangeError, JSON.stringify(options));
    const first = new board.I2C({ address: 1 });
    assert.throws(() => new board.I2C({ address: 1 }), /open already/);
    new board.I2C({ address: 1, bus: 1 });
    first.close();
    first.close();
    new board.I2C({ address: 1 });
  });

  it("says that a bus is absent, and limits a transfer", () => {
    const { board } = wired();
    assert.throws(() => new board.I2C({ address: 1, bus: 1 }).read(1), /I2C bus 1/);
    const chip = new board.I2C({ address: 0x40 });
    assert.equal((chip.read(256) as ArrayBuffer).byteLength, 256);
    assert.throws(() => chip.read(257), RangeError);
    assert.throws(() => chip.write(new Uint8Array(257)), RangeError);
  });

  it("reads and writes registers in both orders of bytes", () => {
    for (const stop of [false, true]) {
      const { board, chip } = wired();
      const smbus = new board.SMBus({ address: 0x40, stop });
      smbus.writeUint16(2, 0x1234);
      smbus.writeUint16(4, 0x1234, true);
      assert.deepEqual([...chip.registers.subarray(2, 6)], [0x34, 0x12, 0x12, 0x34]);
      assert.equal(smbus.readUint16(2), 0x1234);
      assert.equal(smbus.readUint16(4, true), 0x1234);
      assert.equal(smbus.readUint8(5), 0x34);
      smbus.writeUint8(7, 0xff);
      assert.equal(smbus.readUint8(7), 0xff);
      smbus.writeBuffer(8, Uint8Array.of(1, 2, 3));
      assert.deepEqual(new Uint8Array(smbus.readBuffer(8, 3) as ArrayBuffer), Uint8Array.of(1, 2, 3));
      smbus.sendByte(9);
      assert.equal(smbus.receiveByte(), 2);
      smbus.writeQuick();
      smbus.readQuick();
      smbus.close();
    }
  });
});

describe("embedded:io/digital and analog over the wire", () => {
  const { Input, InputPullUp, Output, Rising, Falling } = {
    Input: 0,
    InputPullUp: 1,
    Output: 8,
    Rising: 1,
    Falling: 2,
  };

  it("reads inputs and tells their edges", async () => {
    const pins = new Pins();
    const { board, world } = wired({ pins });
    const seen: string[] = [];
    const button = new board.Digital({
      pin: 4,
      mode: Input,
      edge: Falling,
      onReadable(this: { read(): number }) {
        seen.push(`4 is ${this.read()}`);
      },
    });
    const other = new board.Digital({ pin: 5, mode: InputPullUp });
    assert.equal(button.read(), 0);
    assert.equal(other.read(), 1);
    world.pins.setLevel(4, 1);
    world.pins.setLevel(4, 1);
    world.pins.setLevel(4, 0);
    world.pins.setLevel(5, 0);
    await Promise.resolve();
    assert.deepEqual(seen, ["4 is 0"]);
    button.close();
    world.pins.setLevel(4, 1);
    world.pins.setLevel(4, 0);
    await Promise.resolve();
    assert.equal(seen.length, 1);
  });

  it("drives outputs and refuses what is not valid", () => {
    const { board, world } = wired();
    const led = new board.Digital({ pin: 2, mode: Output, initialValue: 1 });
    assert.equal(world.pins.level(2), 1);
    led.write(0);
    assert.equal(world.pins.level(2), 0);
    assert.throws(() => new board.Digital({ pin: 2, mode: Output }), /in use/);
    led.close();
    assert.throws(() => led.write(1), /closed/);
    const again = new board.Digital({ pin: 2, mode: Input });
    assert.throws(() => again.write(1), /input/);
    assert.throws(() => new board.Digital({ pin: 3, mode: 7 }), RangeError);
    assert.throws(() => new board.Digital({ pin: 256, mode: Input }), RangeError);
    assert.throws(() => new board.Digital({ pin: 3, mode: Input, onReadable() {} }), RangeError);
    assert.throws(() => new board.Digital({ pin: 3, mode: Input, edge: Rising | 4, onReadable() {} }), RangeError);
  });

  it("reads a voltage as the converter does", () => {
    const { board, world } = wired();
    let volts = 0.5;
    world.pins.wireAnalog(1, () => volts);
    const input = new board.Analog({ pin: 1 });
    assert.equal(input.resolution, 12);
    assert.equal(input.read(), 2048);
    volts = 7;
    assert.equal(input.read(), 4095);
    volts = -1;
    assert.equal(input.read(), 0);
    input.close();
    assert.throws(() => input.read(), /closed/);
    assert.throws(() => new board.Analog({ pin: 9 }), RangeError);
  });
});

describe("timers over the wire", () => {
  it("fire in the order of their times, then of their setting", async () => {
    const { board, time } = wired();
    const seen: string[] = [];
    const at = (name: string) => () => seen.push(`${name} ${time.nowMs() - START_MS}`);
    board.timers.after(20, at("c"));
    board.timers.after(10, at("a"));
    board.timers.after(10, at("b"));
    board.timers.after(15, at("cancelled")).cancel();
    board.timers.after(0.4, at("first"));
    await time.run(START_MS + 100);
    assert.deepEqual(seen, ["first 1", "a 10", "b 10", "c 20"]);
  });

  it("let time pass between what a callback sets with no delay", async () => {
    const { board, time } = wired();
    let count = 0;
    const again = () => {
      if (++count < 100) board.timers.after(0, again);
    };
    board.timers.after(5, again);
    await time.run(START_MS + 5);
    assert.equal(count, 100, "each in an event of its own, all at one virtual time");
  });

  it("ask the world only when the earliest changes", async () => {
    const { board, time, operations } = wired();
    const wakes = () => operations.filter((operation) => operation === Operation.wake).length;
    const later = board.timers.after(100, () => {});
    assert.equal(wakes(), 1);
    board.timers.after(200, () => {});
    assert.equal(wakes(), 1);
    const sooner = board.timers.after(50, () => {});
    assert.equal(wakes(), 2);
    sooner.cancel();
    assert.equal(wakes(), 3);
    later.cancel();
    later.cancel();
    assert.equal(wakes(), 4);
    await time.run(START_MS + 300);
    assert.equal(wakes(), 4, "the last one fired, and none is left to ask for");
  });

  it("have a limit", () => {
    const { board } = wired();
    for (let i = 0; i < 64; i++) board.timers.after(1_000, () => {});
    assert.throws(() => board.timers.after(1, () => {}), /more than 64/);
    assert.throws(() => board.timers.after(-1, () => {}), RangeError);
    assert.throws(() => board.timers.after(Number.NaN, () => {}), RangeError);
  });

  it("stand behind the SDK's timer module", async () => {
    const { board, time } = wired();
    const seen: string[] = [];
    const at = (name: string) => () => seen.push(`${name} ${time.nowMs() - START_MS}`);
    board.Timer.set(at("once"), 10);
    const repeating = board.Timer.repeat(at("every"), 30);
    const scheduled = board.Timer.set(at("never"), 5);
    board.Timer.schedule(scheduled);
    const moved = board.Timer.set(at("moved"), 5);
    board.Timer.schedule(moved, 40);
    board.Timer.set((timer) => board.Timer.clear(timer), 1, 1);
    await time.run(START_MS + 65);
    board.Timer.clear(repeating);
    board.Timer.clear(undefined);
    await time.run(START_MS + 200);
    assert.deepEqual(seen, ["once 10", "every 30", "moved 40", "every 60"]);
  });
});
