import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { inspect } from "node:util";
import { EFuseFault, EFuses, GENERATION_FUSES } from "../../hosts/simulator/world/efuse.js";

const KEY = new Uint8Array(32).fill(0xa5);

describe("a chip's fuses", () => {
  it("go from 0 to 1, one by one, and never back", () => {
    const fuses = new EFuses({ key: KEY });
    assert.deepEqual(fuses.read(), [0, 0, 0, 0, 0, 0, 0, 0]);
    fuses.burn(1);
    fuses.burn(1);
    assert.deepEqual(fuses.read(), [0, 1, 0, 0, 0, 0, 0, 0]);
    fuses.burn(0);
    assert.deepEqual(fuses.read(), [1, 1, 0, 0, 0, 0, 0, 0]);
    for (const bit of [-1, GENERATION_FUSES, Number.NaN]) assert.throws(() => fuses.burn(bit), RangeError);
    for (const torn of ["unburned", "unstable"] as const) {
      fuses.torn = torn;
      fuses.burnTorn(0);
      assert.equal(fuses.read()[0], 1, "a cut harms none that is burned");
    }
  });

  it("are unburned, burned or unstable after a burn that was cut, and whole after another", () => {
    const fuses = new EFuses({ key: KEY, seed: 3 });
    fuses.torn = "unburned";
    fuses.burnTorn(0);
    assert.equal(fuses.read()[0], 0);
    fuses.torn = "burned";
    fuses.burnTorn(1);
    assert.equal(fuses.read()[1], 1);
    fuses.torn = "unstable";
    fuses.burnTorn(2);
    const read = () => Array.from({ length: 64 }, () => fuses.read()[2]);
    assert.deepEqual([...new Set(read())].sort(), [0, 1]);
    fuses.burn(2);
    assert.deepEqual([...new Set(read())], [1]);
  });

  it("stay as they are where the chip does not burn", () => {
    const fuses = new EFuses({ key: KEY });
    fuses.broken = true;
    assert.throws(() => fuses.burn(0), EFuseFault);
    fuses.torn = "burned";
    fuses.burnTorn(0);
    assert.deepEqual(fuses.read(), [0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("give HMACs under their key, and nothing of the key", () => {
    const key = KEY.slice();
    const fuses = new EFuses({ key });
    key.fill(0);
    const message = Buffer.from("message");
    assert.deepEqual(Buffer.from(fuses.hmac(message)), createHmac("sha256", KEY).update(message).digest());
    assert.ok(!inspect(fuses, { depth: 9, showHidden: true }).includes("165"));
    assert.throws(() => new EFuses({ key: new Uint8Array(31) }), /expected 32 bytes/);
  });
});
