import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { BoardFlash } from "../../hosts/board/flash.js";
import { Operation, putU64, Status, u64, WireFault, WireLimit, WirePort } from "../../hosts/board/wire.js";
import { EFuses } from "../../hosts/simulator/world/efuse.js";
import { wired } from "./wired.js";

describe("the wire", () => {
  const specification = readFileSync(new URL("../../hosts/board/WIRE.md", import.meta.url), "utf8");

  it("has in code the numbers that WIRE.md has", () => {
    const section = specification.slice(specification.indexOf("## Operations"), specification.indexOf("## Events"));
    const written = [...section.matchAll(/^\| ([0-9A-F]{2}) +\|/gm)].map(([, number]) => Number.parseInt(number!, 16));
    assert.deepEqual(written, Object.values(Operation));
    const statuses = [...specification.matchAll(/^\| (\d) +\| [a-z-]+ +\|/gm)].map(([, number]) => Number(number));
    assert.deepEqual(statuses, Object.values(Status));
  });

  it("answers any bytes with a status, and never throws", () => {
    const harmless = Object.values(Operation).filter(
      (operation) => operation !== Operation.restart && operation !== Operation.sleep && operation > 2,
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.oneof(fc.constantFrom(...harmless), fc.integer()), fc.uint8Array({ maxLength: 40 })), {
          maxLength: 30,
        }),
        (calls) => {
          const { start } = wired({ fuses: new EFuses({ key: new Uint8Array(32) }) });
          for (const [operation, request] of calls) {
            if (operation < 3 || operation === Operation.restart || operation === Operation.sleep) continue;
            const reply = start.call(operation, request);
            assert.ok(reply.length >= 1 && reply.length <= WireLimit.message);
            assert.ok(reply[0]! <= Status.unavailable);
            if (reply[0] !== Status.ok) assert.ok(reply.length <= 1 + WireLimit.detail);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("throws at the board what is its own defect", () => {
    const { board } = wired();
    assert.throws(
      () => board.port.digitalRead(3),
      (error) => error instanceof WireFault && error.status === Status.absent && error.operation === 0x1b,
    );
    const deaf = new WirePort({ call: () => new ArrayBuffer(0) });
    assert.throws(() => deaf.clock(), /empty reply/);
    assert.throws(() => board.onEvent(Uint8Array.of(9)), /unknown event 9/);
  });

  it("carries numbers up to 2^53-1", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const bytes = new Uint8Array(8);
        putU64(bytes, 0, value);
        assert.equal(u64(bytes, 0), value);
        assert.equal(Buffer.from(bytes).readBigUInt64LE(), BigInt(value));
      }),
    );
  });

  it("keeps each message within the stated size", () => {
    const longest = { request: 0, reply: 0 };
    const { board, start } = wired();
    const port = new WirePort({
      call(operation, request) {
        const reply = start.call(operation, request);
        longest.request = Math.max(longest.request, request.length);
        longest.reply = Math.max(longest.reply, reply.length);
        return reply.slice().buffer as ArrayBuffer;
      },
    });
    port.keyWrite("d".repeat(15), "n".repeat(15), new Uint8Array(4_000));
    port.keyRead("d".repeat(15), "n".repeat(15));
    new BoardFlash(port, "chain").read(0, new Uint8Array(16_384));
    board.port.print("x");
    assert.ok(longest.request <= WireLimit.message, `${longest.request}`);
    assert.ok(longest.reply <= WireLimit.message, `${longest.reply}`);
  });
});
