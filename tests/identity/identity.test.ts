import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { toHex } from "tallystick/bytes/bytes";
import type { Crypto } from "tallystick/identity/crypto";
import { Identity } from "tallystick/identity/identity";
import { didKey, fingerprint, fromDidKey, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { memoryKeys } from "../fixtures/keys.js";

const entropy = { bytes: (length: number) => new Uint8Array(randomBytes(length)) };

describe("identity", () => {
  it("makes a key once, stores its seed only, and derives the same key at every start", () => {
    const keys = memoryKeys();
    const none = Identity.open({ keys, crypto: portableCrypto });
    assert(none.ok && none.value === undefined, "opening makes nothing");
    assert.equal(keys.values.size, 0);
    const made = Identity.create({ keys, crypto: portableCrypto, entropy });
    assert(made.ok);
    assert.deepEqual([...keys.values.keys()], ["seed"]);
    const again = Identity.open({ keys, crypto: portableCrypto });
    assert(again.ok && again.value);
    assert.equal(toHex(again.value.publicKey), toHex(made.value.publicKey));
    const second = Identity.create({ keys, crypto: portableCrypto, entropy });
    assert(!second.ok && second.failure.code === "KEY_EXISTS");
  });

  it("makes no key without entropy, and none beside an unreadable one", () => {
    const keys = memoryKeys();
    const dry = {
      bytes(): Uint8Array {
        throw new Error("no entropy source");
      },
    };
    assert.throws(() => Identity.create({ keys, crypto: portableCrypto, entropy: dry }), /no entropy/);
    assert.equal(keys.values.size, 0);
    keys.write("seed", new Uint8Array(31));
    const opened = Identity.open({ keys, crypto: portableCrypto });
    assert(!opened.ok && opened.failure.code === "KEY_UNREADABLE");
    const made = Identity.create({ keys, crypto: portableCrypto, entropy });
    assert(!made.ok && made.failure.code === "KEY_EXISTS");
  });

  it("has a fingerprint for eyes that begins as the kid does", () => {
    const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (publicKey) => {
        const text = fingerprint(portableCrypto.sha256, publicKey);
        assert.match(text, /^([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}$/);
        const value = [...text.replaceAll("-", "")].reduce(
          (bits, character) => (bits << 5n) | BigInt(alphabet.indexOf(character)),
          0n,
        );
        assert.equal(value >> 36n, BigInt(`0x${toHex(kidOf(portableCrypto.sha256, publicKey))}`));
      }),
      { numRuns: 200 },
    );
  });

  it("lets no signature out that does not verify", () => {
    const keys = memoryKeys();
    const faulty: Crypto = {
      sha256: portableCrypto.sha256,
      ed25519: {
        ...portableCrypto.ed25519,
        sign: (message, seed, publicKey) => {
          const signature = portableCrypto.ed25519.sign(message, seed, publicKey);
          signature[40]! ^= 4;
          return signature;
        },
      },
    };
    const made = Identity.create({ keys, crypto: faulty, entropy });
    assert(made.ok);
    const signed = made.value.sign(Uint8Array.of(1));
    assert(!signed.ok && signed.failure.code === "SIGNER_FAULT");
  });

  it("names keys as did:key", () => {
    // From the W3C did:key test vectors (Ed25519).
    const did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const key = fromDidKey(did);
    assert(key);
    assert.equal(toHex(key), "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29");
    assert.equal(fingerprint(portableCrypto.sha256, key), "DXYY-XXJX-AJK9-J1EK-16JK");
    assert.equal(didKey(key), did);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
        const publicKey = portableCrypto.ed25519.publicKey(seed);
        assert.equal(toHex(fromDidKey(didKey(publicKey))!), toHex(publicKey));
      }),
      { numRuns: 20 },
    );
    for (const bad of ["", "did:key:z", `${did}1`, did.replace("z6", "z5"), did.replace("i", "0"), `did:web:${did}`])
      assert.equal(fromDidKey(bad), undefined, bad);
  });
});
