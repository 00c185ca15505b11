import assert from "node:assert/strict";
import { createPublicKey, verify as nodeVerify } from "node:crypto";
import { readFileSync } from "node:fs";
import { decode as foreignDecode } from "cborg";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { Identity } from "tallystick/identity/identity";
import { beginSuccession, endSuccession, openSuccession } from "tallystick/identity/succession";
import { sentMarkOf, writeSentMark } from "tallystick/sync/sent-mark";
import { readSuccession, readSuccessionRequest, SUCCESSION_TYP } from "tallystick/sync/succession";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { MemoryKeys } from "../fixtures/device.js";
import { failureOf, must } from "../relay/started.js";

const vector = JSON.parse(readFileSync(new URL("../vectors/succession.json", import.meta.url), "utf8"));
const bytesOf = (name: string) => fromHex(vector[name])!;

describe("the succession statement", () => {
  it("is a COSE_Sign1 to a foreign decoder and verifier (cborg, node:crypto)", () => {
    const tags = Object.assign([], { 18: (decode: () => unknown) => decode() });
    const decode = (bytes: Uint8Array) => foreignDecode(bytes, { useMaps: true, strict: true, tags: tags as never });
    const request = decode(bytesOf("request")) as Map<number, unknown>;
    assert.deepEqual([...request.keys()], [1, 2, 4, 7]);
    assert.equal(toHex(request.get(4) as Uint8Array), vector.genesis);
    assert.equal(toHex(request.get(7) as Uint8Array), vector.statement);
    const [header, unprotected, payload, signature] = decode(bytesOf("statement")) as Uint8Array[];
    assert.equal((unprotected as unknown as Map<never, never>).size, 0);
    const labels = decode(header!) as Map<number, unknown>;
    assert.deepEqual([...labels.keys()], [1, 4, 16]);
    assert.equal(labels.get(1), -8);
    assert.equal(toHex(labels.get(4) as Uint8Array), vector.formerKid);
    assert.equal(labels.get(16), SUCCESSION_TYP);
    const content = decode(payload!) as Map<number, unknown>;
    assert.equal(content.get(1), vector.origin);
    const [seq, id] = content.get(2) as [number, Uint8Array];
    assert.equal(seq, vector.seq);
    assert.equal(toHex(id), vector.id);
    const key = content.get(3) as Map<number, unknown>;
    assert.equal(toHex(key.get(-2) as Uint8Array), vector.nextPublicKey);
    const signed = Buffer.concat([
      Buffer.from("846a5369676e617475726531", "hex"),
      Buffer.from([0x58, header!.length]),
      header!,
      Buffer.from("40", "hex"),
      Buffer.from([0x58, payload!.length]),
      payload!,
    ]);
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), bytesOf("formerPublicKey")]);
    assert.ok(nodeVerify(null, signed, createPublicKey({ key: spki, format: "der", type: "spki" }), signature!));
  });

  it("is refused whatever is cut off or put on, as is the request that carries it", () => {
    for (const [name, read] of [
      ["statement", readSuccession],
      ["request", readSuccessionRequest],
    ] as const) {
      const bytes = bytesOf(name);
      for (let length = 0; length < bytes.length; length++) assert.equal(read(bytes.subarray(0, length)).ok, false);
      assert.equal(read(Uint8Array.of(...bytes, 0)).ok, false);
    }
  });
});

describe("a succession in the key store", () => {
  const position = { seq: 5_000_000_000, id: new Uint8Array(32).fill(8) };
  let keys: MemoryKeys;
  let former: Identity;
  let drawn = 0;
  const entropy = { bytes: (length: number) => new Uint8Array(length).fill(++drawn) };

  beforeEach(() => {
    keys = new MemoryKeys();
    former = must(Identity.create({ keys, crypto, entropy }));
  });

  it("is one write that keeps both seeds and the head; until its end the former key opens too", () => {
    assert.equal(must(openSuccession({ keys, crypto })), undefined);
    must(beginSuccession({ keys, crypto, entropy }, position));
    for (let start = 0; start < 3; start++) {
      const opened = must(openSuccession({ keys, crypto }))!;
      assert.equal(toHex(opened.former.kid), toHex(former.kid));
      assert.notEqual(toHex(opened.next.kid), toHex(former.kid));
      assert.deepEqual({ seq: opened.seq, id: opened.id }, position);
    }
    const { next } = must(openSuccession({ keys, crypto }))!;
    endSuccession({ keys });
    assert.equal(must(openSuccession({ keys, crypto })), undefined);
    assert.equal(toHex(must(Identity.open({ keys, crypto }))!.kid), toHex(next.kid));
    endSuccession({ keys });
    assert.equal(toHex(must(Identity.open({ keys, crypto }))!.kid), toHex(next.kid));
  });

  it("whose end was cut between its two writes is ended by the next opening", () => {
    must(beginSuccession({ keys, crypto, entropy }, position));
    const { next } = must(openSuccession({ keys, crypto }))!;
    const cut = { ...keys, read: keys.read.bind(keys), write: keys.write.bind(keys), delete: () => assert.fail("cut") };
    assert.throws(() => endSuccession({ keys: cut }));
    assert.ok(keys.read("succession"));
    assert.equal(must(openSuccession({ keys, crypto })), undefined);
    assert.equal(keys.read("succession"), undefined);
    assert.equal(toHex(must(Identity.open({ keys, crypto }))!.kid), toHex(next.kid));
  });

  it("is never begun or opened because something cannot be read", () => {
    must(beginSuccession({ keys, crypto, entropy }, position));
    const value = keys.read("succession")!;
    for (const broken of [value.slice(1), new Uint8Array(0), Uint8Array.of(...value, 0)]) {
      keys.write("succession", broken);
      assert.equal(failureOf(openSuccession({ keys, crypto })).code, "KEY_UNREADABLE");
    }
    const seed = keys.read("seed")!;
    endSuccession({ keys });
    assert.deepEqual(keys.read("seed"), seed, "what is no succession replaces no seed");
    keys.write("succession", value);
    keys.delete("seed");
    assert.equal(failureOf(openSuccession({ keys, crypto })).code, "KEY_UNREADABLE");
    keys.delete("succession");
    assert.equal(failureOf(beginSuccession({ keys, crypto, entropy }, position)).code, "KEY_UNREADABLE");
    assert.equal(keys.read("succession"), undefined);
  });

  it("takes no seed that the store holds already", () => {
    const seed = keys.read("seed")!;
    const repeated = { keys, crypto, entropy: { bytes: () => seed.slice() } };
    assert.equal(failureOf(beginSuccession(repeated, position)).code, "KEY_EXISTS");
    assert.equal(keys.read("succession"), undefined);
  });

  it("leaves the sent mark to the chain that it is of", () => {
    const other = new Uint8Array(8).fill(1);
    assert.equal(must(sentMarkOf(keys, other, true)), undefined);
    keys.write("sent", Uint8Array.of(20));
    assert.equal(must(sentMarkOf(keys, former.kid, false)), 20, "as devices of one chain have it");
    assert.equal(must(sentMarkOf(keys, other, true)), undefined);
    writeSentMark(keys, former.kid, 21);
    assert.equal(must(sentMarkOf(keys, former.kid, false)), 21);
    assert.equal(must(sentMarkOf(keys, other, true)), undefined);
    assert.equal(failureOf(sentMarkOf(keys, other, false)).code, "KEY_MISMATCH");
    writeSentMark(keys, other, 0);
    assert.equal(must(sentMarkOf(keys, other, true)), 0);
    assert.equal(must(sentMarkOf(keys, other, false)), 0);
  });
});
