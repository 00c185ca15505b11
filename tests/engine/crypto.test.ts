/** The engine's C against the portable packages: tweetnacl and @noble/hashes, bytes for bytes, and RFC 8032's vectors. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import nacl from "tweetnacl";
import type { Board } from "../../hosts/simulator/board.js";
import { modulesOf } from "../../hosts/simulator/image.js";
import { newEngine, startWith } from "./boards.js";

/** One operation an event: number, then the arguments, each with its length in two bytes; the reply comes by the wire. */
const MAIN = `
import { call, onEvent } from "wire";
import * as native from "tallystick-native";
import { createCrypto } from "tallystick/board/crypto";
const { sha256, ed25519 } = createCrypto(native);
onEvent((event) => {
  const all = new Uint8Array(event), parts: Uint8Array[] = [];
  // Views, not copies: the natives must respect their offsets.
  for (let at = 1; at < all.length; ) { const n = all[at] | (all[at + 1] << 8); parts.push(all.subarray(at + 2, at + 2 + n)); at += 2 + n; }
  const [a, b, c] = parts;
  try {
    if (all[0] === 0) call(16, sha256(a));
    if (all[0] === 1) call(16, ed25519.publicKey(a));
    if (all[0] === 2) call(16, ed25519.sign(a, b, c));
    if (all[0] === 3) call(16, Uint8Array.of(ed25519.equation(a, b, c) ? 1 : 0));
  } catch (error) { call(17, ArrayBuffer.fromString(error.name + ": " + error.message)); }
});
`;

const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("the engine's C for SHA-256 and Ed25519", () => {
  let board: Board;
  let reply: Uint8Array | string | undefined;

  before(async function () {
    await newEngine.call(this);
    const crypto = modulesOf(fileURLToPath(new URL("../../hosts/board", import.meta.url)), "tallystick/board");
    board = await startWith({
      modules: [
        ...crypto.filter(({ name }) => name === "tallystick/board/crypto"),
        { name: "main", path: "main.ts", text: MAIN },
      ],
      main: "main",
      world: {
        call: (operation, sent) => {
          if (operation === 16) reply = sent;
          if (operation === 17) reply = new TextDecoder().decode(sent);
          return undefined;
        },
      },
    });
    assert.equal(board.end, undefined);
  });

  function ask(operation: number, ...parts: Uint8Array[]): Uint8Array | string | undefined {
    reply = undefined;
    board.event(
      Buffer.concat([
        Uint8Array.of(operation),
        ...parts.flatMap((part) => [Uint8Array.of(part.length & 255, part.length >> 8), part]),
      ]),
    );
    assert.equal(board.end, undefined, board.end?.message);
    return reply;
  }

  it("hashes every length around the block as @noble/hashes does", () => {
    for (let length = 0; length <= 260; length++) {
      const message = Uint8Array.from({ length }, (_, i) => i * 7 + length);
      assert.deepEqual(ask(0, message), nobleSha256(message));
    }
    fc.assert(
      fc.property(bytes(4000), (message) => assert.deepEqual(ask(0, message), nobleSha256(message))),
      { numRuns: 100 },
    );
  });

  it("gives RFC 8032's keys and signatures (section 7.1, tests 1 to 3)", () => {
    const vectors = [
      [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
      ],
      [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
      ],
      [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
      ],
    ] as const;
    for (const [seed, publicKey, message, signature] of vectors) {
      assert.deepEqual(ask(1, hex(seed)), hex(publicKey));
      assert.deepEqual(ask(2, hex(message), hex(seed), hex(publicKey)), hex(signature));
      assert.deepEqual(ask(3, hex(signature), hex(message), hex(publicKey)), Uint8Array.of(1));
    }
  });

  it("signs as tweetnacl does, and finds every changed bit", () => {
    fc.assert(
      fc.property(seeds, bytes(500), fc.nat(), (seed, message, where) => {
        const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed);
        const signature = nacl.sign.detached(message, secretKey);
        assert.deepEqual(ask(1, seed), publicKey);
        assert.deepEqual(ask(2, message, seed, publicKey), signature);
        assert.deepEqual(ask(3, signature, message, publicKey), Uint8Array.of(1));
        const broken = Uint8Array.from(signature);
        const bit = where % 512;
        broken[bit >> 3]! ^= 1 << (bit & 7);
        assert.deepEqual(ask(3, broken, message, publicKey), Uint8Array.of(0));
        if (message.length > 0) {
          const changed = Uint8Array.from(message);
          changed[where % message.length]! ^= 1 << (where & 7);
          assert.deepEqual(ask(3, signature, changed, publicKey), Uint8Array.of(0));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("refuses wrong lengths, and a public key that is not the seed's", () => {
    const seed = new Uint8Array(32).fill(1);
    const { publicKey } = nacl.sign.keyPair.fromSeed(seed);
    assert.match(String(ask(1, new Uint8Array(31))), /RangeError: seed: expected 32 bytes, received 31/);
    assert.match(
      String(ask(2, seed, seed, new Uint8Array(33))),
      /RangeError: public key: expected 32 bytes, received 33/,
    );
    assert.match(String(ask(3, new Uint8Array(63), seed, publicKey)), /RangeError: signature: expected 64 bytes/);
    const flipped = Uint8Array.from(publicKey);
    flipped[7]! ^= 4;
    assert.match(String(ask(2, seed, seed, flipped)), /RangeError: public key: does not belong to the seed/);
  });

  it("leaves no seed, scalar or nonce in the memory that is not the board's own JavaScript", () => {
    const seed = Uint8Array.from({ length: 32 }, (_, i) => 0xa5 ^ (i * 29));
    const { publicKey } = nacl.sign.keyPair.fromSeed(seed);
    assert.ok(ask(2, new Uint8Array(10), seed, publicKey) instanceof Uint8Array);
    // SHA-512 of the seed is the scalar, clamped, and the nonce's key.
    const expanded = nacl.hash(seed);
    const clamped = Uint8Array.from(expanded);
    clamped[0]! &= 248;
    clamped[31] = (clamped[31]! & 63) | 64;
    const memory = Buffer.from(board.image().memory);
    assert.equal(memory.indexOf(clamped.subarray(0, 32)), -1, "the scalar");
    assert.equal(memory.indexOf(expanded.subarray(0, 32)), -1, "the scalar before clamping");
    assert.equal(memory.indexOf(expanded.subarray(32)), -1, "the nonce's key");
  });
});
