import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { completeRotation, plannedRotation, planRotation } from "tallystick/identity/rotation";
import {
  eitherSeeds,
  FuseError,
  type Fuses,
  fusedSeeds,
  type SeedSource,
  storedSeeds,
} from "tallystick/identity/seeds";
import { beginSuccession, endSuccession, openSuccession } from "tallystick/identity/succession";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { memoryKeys } from "../fixtures/keys.js";
import { failureOf, must } from "../relay/started.js";

/** Of the key 00 01 … 1f: generation, seed, public key, kid. By node:crypto and by Python's hmac, not by this code. */
const VECTORS = [
  [
    1,
    "7db8056b380abad9cf6c7637ab3f0613854d1ada757893e46b1cd261f5cd6c06",
    "35dd10fb2364b9d88448f85fae7aace89f19865dc3bd3f4fae8dcf69015b1f97",
    "3391031681dfed6e",
  ],
  [
    2,
    "5c0b9afc8be9cce1e5727dd2e43d3a728055ed55e69189dd3f012eef3915115b",
    "9368555f41d76328998c9aed898a86adb285ba3623d98386ef8db400cce46370",
    "fc1db95ac4ae9c29",
  ],
  [
    8,
    "2e83009f622f9930a1dd7236ccf449b5f0b74117b4ec63fa30dcfe98386d2e69",
    "c4172af5928c47c48b86292ec921efe22ed3f50b7a45d8c47b9b3e9c363d07e4",
    "a63a7d32b1c8356a",
  ],
] as const;

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const POSITION = { seq: 5_000_000_000, id: new Uint8Array(32).fill(8) };
/** For whoever must not draw from it. */
const NO_ENTROPY = { bytes: (): Uint8Array => assert.fail("entropy was drawn") };

/** Thrown where the power goes. */
class Cut extends Error {}

/** A chip of eight fuses; `before` is called before each burn. */
class Chip implements Fuses {
  readonly generationsMax = 8;
  burned = 0;
  before = (): void => {};
  generation(): number {
    return 32 - Math.clz32(this.burned);
  }
  burn(generation: number): void {
    this.before();
    this.burned |= 1 << (generation - 1);
  }
  hmac(message: Uint8Array): Uint8Array {
    return new Uint8Array(createHmac("sha256", KEY).update(message).digest());
  }
}

function referenceOf(generation: number): Uint8Array {
  return Uint8Array.of(1, 0, 0, 0, generation);
}

describe("seeds from entropy", () => {
  it("are their own references: 32 bytes, and nothing else is one", () => {
    const seed = new Uint8Array(32).fill(7);
    const seeds = storedSeeds({ bytes: (length) => seed.slice(0, length) });
    assert.deepEqual(seeds.draw(), seed);
    assert.deepEqual(seeds.resolve(seed), seed);
    assert.deepEqual(seeds.newest(), []);
    for (const length of [0, 5, 31, 33]) assert.equal(seeds.resolve(new Uint8Array(length)), undefined);
    assert.throws(() => storedSeeds().draw(), /expected entropy/);
  });
});

describe("seeds of a chip's fuses", () => {
  let chip: Chip;
  let seeds: SeedSource;
  let keys: ReturnType<typeof memoryKeys>;
  const options = () => ({ keys, crypto, seeds, entropy: NO_ENTROPY });

  beforeEach(() => {
    chip = new Chip();
    seeds = fusedSeeds(chip);
    keys = memoryKeys();
  });

  it("are what the specification says, byte for byte", () => {
    const specification = readFileSync(new URL("../../modules/identity/SPEC.md", import.meta.url), "utf8");
    chip.burned = 0xff;
    for (const [generation, seed, publicKey, kid] of VECTORS) {
      assert.equal(toHex(seeds.resolve(referenceOf(generation))!), seed);
      keys.write("seed", referenceOf(generation));
      const identity = must(Identity.open(options()))!;
      assert.equal(toHex(identity.publicKey), publicKey);
      assert.equal(toHex(identity.kid), kid);
      for (const text of [seed, publicKey, kid]) assert.ok(specification.includes(text), text);
    }
  });

  it("are counted when they are made, not when they are drawn: what is drawn and forgotten costs nothing", () => {
    for (let draw = 0; draw < 20; draw++) assert.deepEqual(seeds.draw(), referenceOf(1));
    assert.equal(chip.burned, 0);
    assert.deepEqual(seeds.newest(), []);
    const first = must(Identity.create(options()));
    assert.deepEqual([...keys.values], [["seed", referenceOf(1)]]);
    assert.equal(chip.burned, 1);
    assert.deepEqual(seeds.newest(), [referenceOf(1)]);
    assert.deepEqual(seeds.draw(), referenceOf(2));
    assert.deepEqual(must(Identity.open(options()))!.kid, first.kid);
    assert.equal(chip.burned, 1, "opening a key that is counted burns nothing");
  });

  it("stand in the key store before a fuse is burned for them", () => {
    let stored: Uint8Array | undefined;
    chip.before = () => {
      stored = keys.read("seed");
    };
    must(Identity.create(options()));
    assert.deepEqual(stored, referenceOf(1));
    chip.before = () => {
      stored = keys.read("succession");
    };
    must(beginSuccession(options(), POSITION));
    assert.equal(chip.burned, 1);
    must(openSuccession(options()));
    assert.equal(stored?.length, 45);
    assert.equal(chip.burned, 3);
  });

  it("burn nothing where the key store does not keep what is written", () => {
    const forgetful = { ...keys, write: () => {} };
    const made = Identity.create({ ...options(), keys: forgetful });
    assert.equal(failureOf(made).code, "KEY_UNREADABLE");
    const full = { ...keys, write: () => assert.fail("full") };
    for (let start = 0; start < 20; start++) assert.throws(() => Identity.create({ ...options(), keys: full }), /full/);
    assert.equal(chip.burned, 0);
  });

  it("are made of this chip's numbers only, and of the next at the furthest", () => {
    chip.burned = 0b11;
    const wrong = [
      referenceOf(0),
      referenceOf(4),
      referenceOf(9),
      Uint8Array.of(1, 1, 0, 0, 1),
      Uint8Array.of(2, 0, 0, 0, 1),
      Uint8Array.of(0, 0, 0, 0, 1),
      referenceOf(1).slice(0, 4),
      Uint8Array.of(...referenceOf(1), 0),
      new Uint8Array(0),
      new Uint8Array(32),
    ];
    for (const reference of wrong) {
      assert.equal(seeds.resolve(reference), undefined, toHex(reference));
      keys.write("seed", reference);
      assert.equal(failureOf(Identity.open(options())).code, "KEY_UNREADABLE", toHex(reference));
    }
    assert.equal(chip.burned, 0b11);
    chip.burned = 0xff;
    assert.equal(seeds.resolve(referenceOf(9)), undefined);
    assert.ok(seeds.resolve(referenceOf(8)));
  });

  it("are not what a board without the chip's key can read, and no seed replaces them", () => {
    must(Identity.create(options()));
    const without = { keys, crypto, entropy: NO_ENTROPY };
    assert.equal(failureOf(Identity.open(without)).code, "KEY_UNREADABLE");
    assert.equal(failureOf(Identity.create(without)).code, "KEY_EXISTS");
    assert.equal(failureOf(beginSuccession(without, POSITION)).code, "KEY_UNREADABLE");
  });

  it("end with the fuses: KEY_FUSES_USED_UP, and the key that is there stays", () => {
    must(Identity.create(options()));
    for (let generation = 2; generation <= 8; generation++) {
      must(beginSuccession(options(), POSITION));
      must(openSuccession(options()));
      endSuccession({ keys });
    }
    const last = must(Identity.open(options()))!;
    assert.equal(toHex(last.kid), VECTORS[2]![3]);
    const before = [...keys.values];
    assert.equal(failureOf(beginSuccession(options(), POSITION)).code, "KEY_FUSES_USED_UP");
    assert.deepEqual([...keys.values], before);
    assert.deepEqual(must(Identity.open(options()))!.kid, last.kid);
    keys.delete("seed");
    assert.equal(failureOf(Identity.create(options())).code, "KEY_FUSES_USED_UP");
    assert.equal(keys.read("seed"), undefined);
  });

  it("wait for a chip that does not burn: KEY_FUSES_FAILED, then the same key", () => {
    chip.before = () => {
      throw new FuseError("KEY_FUSES_FAILED", "too low a supply");
    };
    assert.equal(failureOf(Identity.create(options())).code, "KEY_FUSES_FAILED");
    assert.equal(failureOf(Identity.open(options())).code, "KEY_FUSES_FAILED");
    chip.before = () => {};
    assert.equal(toHex(must(Identity.open(options()))!.kid), VECTORS[0][3]);
    must(beginSuccession(options(), POSITION));
    chip.before = () => {
      throw new FuseError("KEY_FUSES_FAILED", "too low a supply");
    };
    assert.equal(failureOf(openSuccession(options())).code, "KEY_FUSES_FAILED");
    chip.before = () => {};
    assert.equal(toHex(must(openSuccession(options()))!.next.kid), VECTORS[1][3]);
    chip.before = () => {
      throw new Error("a defect");
    };
    keys.write("seed", referenceOf(3));
    assert.throws(() => Identity.open(options()), /a defect/);
  });

  it("go beside seeds that were stored before: each kind opens, new ones are fused", () => {
    const stored = must(Identity.create({ keys, crypto, entropy: { bytes: () => fromHex("11".repeat(32))! } }));
    seeds = eitherSeeds(fusedSeeds(chip), storedSeeds(NO_ENTROPY));
    assert.deepEqual(must(Identity.open(options()))!.kid, stored.kid);
    assert.equal(chip.burned, 0);
    must(beginSuccession(options(), POSITION));
    const { former, next, seq, id } = must(openSuccession(options()))!;
    assert.deepEqual(former.kid, stored.kid);
    assert.equal(toHex(next.kid), VECTORS[0][3]);
    assert.deepEqual({ seq, id }, POSITION);
    assert.deepEqual(keys.read("succession")!.subarray(0, 5), referenceOf(1));
    endSuccession({ keys });
    assert.deepEqual([...keys.values], [["seed", referenceOf(1)]]);
    assert.equal(must(openSuccession(options())), undefined);
    assert.equal(toHex(must(Identity.open(options()))!.kid), VECTORS[0][3]);
  });

  it("are what a rotation is planned with, and a planned one that is forgotten leaves its number behind", () => {
    must(Identity.create(options()));
    chip.before = () => assert.deepEqual(keys.read("rotation"), referenceOf(2));
    const planned = must(planRotation(options()));
    assert.equal(toHex(planned.kid), VECTORS[1][3]);
    assert.equal(chip.burned, 0b11);
    chip.before = () => {};
    for (let start = 0; start < 3; start++) {
      assert.deepEqual(must(plannedRotation(options()))!.kid, planned.kid);
      assert.deepEqual(must(planRotation(options())).kid, planned.kid);
    }
    const record = Uint8Array.of(1, 2, 3);
    must(completeRotation({ keys }, { ...POSITION, bytes: record }));
    const { former, next, rotation } = must(openSuccession(options()))!;
    assert.deepEqual([toHex(former.kid), toHex(next.kid)], [VECTORS[0][3], VECTORS[1][3]]);
    assert.deepEqual(rotation, record);
    endSuccession({ keys });
    assert.deepEqual([...keys.values], [["seed", referenceOf(2)]]);
    // Planned, and then the chain ends otherwise: the key that was planned may be named in a record that is lost.
    must(planRotation(options()));
    must(beginSuccession(options(), POSITION));
    assert.deepEqual(keys.read("succession")!.subarray(0, 5), referenceOf(4));
    keys.write("rotation", referenceOf(6));
    assert.equal(failureOf(plannedRotation(options())).code, "KEY_UNREADABLE");
    chip.burned = 0xff;
    keys.delete("rotation");
    assert.equal(failureOf(planRotation(options())).code, "KEY_FUSES_USED_UP");
    assert.equal(keys.read("rotation"), undefined);
  });

  it("is no succession, what is none: nothing replaces the seed", () => {
    must(Identity.create(options()));
    must(beginSuccession(options(), POSITION));
    const value = keys.read("succession")!;
    for (const broken of [value.slice(1), Uint8Array.of(...value, 0), Uint8Array.of(2, ...value.slice(1))]) {
      keys.write("succession", broken);
      assert.equal(failureOf(openSuccession(options())).code, "KEY_UNREADABLE");
      endSuccession({ keys });
      assert.deepEqual(keys.read("seed"), referenceOf(1));
    }
  });
});

/**
 * What a device does to its keys, cut anywhere, its key store lost in between. A seed that was made is a key in use: others
 * may hold records under it. It must be counted by then, and must never come again where the store has forgotten it.
 */
describe("keys of fuses, cut and forgotten", () => {
  const ACTS = ["start", "start", "succeed", "plan", "rotate", "end", "lose"] as const;
  type Step = { readonly act: (typeof ACTS)[number]; readonly cutAfter: number };
  const steps = fc.array(
    fc.record({
      act: fc.constantFrom(...ACTS),
      cutAfter: fc.integer({ min: 0, max: 9 }),
    }),
    { minLength: 1, maxLength: 60, size: "max" },
  );

  /** Runs the steps; gives the numbers that were counted and the keys that were in use. */
  function live(plan: readonly Step[]): { readonly burned: number; readonly used: ReadonlySet<string> } {
    const chip = new Chip();
    const memory = memoryKeys();
    let left = Number.POSITIVE_INFINITY;
    const spend = (): void => {
      if (left-- <= 0) throw new Cut();
    };
    chip.before = spend;
    const keys = {
      read: memory.read,
      write(name: string, value: Uint8Array) {
        spend();
        memory.write(name, value);
      },
      delete(name: string) {
        spend();
        memory.delete(name);
      },
    };
    const used = new Set<string>();
    /** Used, and named by no store since. */
    const lost = new Set<string>();
    const fused = fusedSeeds(chip);
    const seeds: SeedSource = {
      ...fused,
      resolve(reference) {
        const seed = fused.resolve(reference);
        if (seed === undefined) return seed;
        const generation = reference[4]!;
        assert.ok((chip.burned >> (generation - 1)) & 1, "a seed was made and not counted");
        assert.ok(!lost.has(toHex(seed)), `generation ${generation} came again`);
        used.add(toHex(seed));
        return seed;
      },
    };
    const options = { keys, crypto, seeds, entropy: NO_ENTROPY };
    for (const { act, cutAfter } of plan) {
      left = cutAfter;
      try {
        if (act === "lose") {
          memory.values.clear();
          for (const seed of used) lost.add(seed);
        } else if (act === "end") endSuccession({ keys });
        else if (act !== "start") {
          const record = { ...POSITION, bytes: Uint8Array.of(1) };
          const done =
            act === "succeed"
              ? beginSuccession(options, POSITION)
              : act === "plan"
                ? planRotation(options)
                : completeRotation(options, record);
          // Where there is no key to succeed, none planned, no number left, or a number stored and not yet in use.
          const refusals = ["KEY_UNREADABLE", "KEY_FUSES_USED_UP", "KEY_EXISTS"];
          if (!done.ok) assert.ok(refusals.includes(done.failure.code), done.failure.code);
        } else {
          const opened = openSuccession(options);
          assert.ok(opened.ok, JSON.stringify(opened));
          const identity = Identity.open(options);
          assert.ok(identity.ok);
          assert.ok(plannedRotation(options).ok);
          if (identity.value === undefined) {
            const made = Identity.create(options);
            if (!made.ok) assert.equal(made.failure.code, "KEY_FUSES_USED_UP");
          }
        }
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
      }
      for (const value of memory.values.values())
        for (const seed of used) assert.ok(!toHex(value).includes(seed), "a seed is in the key store");
    }
    return { burned: chip.burned, used };
  }

  it("are never made twice, never used uncounted, and none is skipped", () => {
    let most = 0;
    fc.assert(
      fc.property(steps, (plan) => {
        const { burned, used } = live(plan);
        // Every number that was counted made a key: no cut and no loss costs a fuse.
        assert.equal(burned, 2 ** used.size - 1);
        most = Math.max(most, used.size);
      }),
      { numRuns: 1000 },
    );
    assert.ok(most >= 6, `${most} keys at the most`);
  });
});
