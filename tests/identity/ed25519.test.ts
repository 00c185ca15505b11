import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { fromHex } from "tallystick/bytes/bytes";
import { isAcceptablePublicKey, verifySignature } from "tallystick/identity/ed25519";
import { tweetnaclEngine } from "tallystick/identity/tweetnacl";
import { browserEngine, type SubtleEd25519, TELLING_SIGNATURES } from "tallystick/identity/webcrypto";
import { nodeEngine, sodiumEngine } from "../../hosts/relay/crypto.js";
import { edgeCases, LOW_ORDER_ENCODINGS, Mutations } from "../../tools/verdicts/cases.js";
import { BASE, byTheBook, compress, equations, L, LOW_ORDER, times } from "../../tools/verdicts/curve.js";
import { libsodium, VERIFIER_NAMES } from "../../tools/verdicts/engines.js";
import { rerun, runVerdicts } from "../../tools/verdicts/run.js";
import { newEngine } from "../engine/boards.js";

/** A part of `npm run verdicts`. `SEED=n` tries other mutations, `MUTATIONS=n` more. */
const SEED = Number(process.env["SEED"] ?? 1);
const MUTATIONS = Number(process.env["MUTATIONS"] ?? 10_000);

describe("identity/ed25519: one rule", function () {
  this.timeout(600_000);
  before(newEngine);

  it("knows the curve: eight points of low order, 14 encodings of them", () => {
    const points = new Set(LOW_ORDER.map((point) => compress(point).join()));
    assert.equal(points.size, 8);
    assert.equal(LOW_ORDER_ENCODINGS.length, 14);
    assert.deepEqual(compress(times(L, BASE)), compress(LOW_ORDER[0]!));
    for (const encoding of LOW_ORDER_ENCODINGS) assert.ok(!isAcceptablePublicKey(encoding));
  });

  it(`gives libsodium's verdict with ${VERIFIER_NAMES.join(", ")}`, async () => {
    const told: string[] = [];
    const { cases, accepted, disagreements, edge } = await runVerdicts({
      seed: SEED,
      count: MUTATIONS,
      onDisagreement: (one) =>
        void told.push(`${one.what}: libsodium ${one.libsodium}, ${one.others.join(", ")} not so\n  ${rerun(one)}`),
    });
    assert.deepEqual(told, []);
    assert.equal(disagreements, 0);
    assert.equal(cases, edge + MUTATIONS);
    assert.ok(accepted > MUTATIONS / 20, `${accepted} were signatures`);
  });

  it("is what its specification says, on the whole edge set", () => {
    const verdicts = { true: 0, false: 0 };
    for (const { what, signature, message, publicKey } of edgeCases()) {
      const expected = byTheBook(signature, message, publicKey);
      verdicts[`${expected}`]++;
      assert.equal(libsodium(signature, message, publicKey), expected, what);
    }
    assert.ok(verdicts.true > 3 && verdicts.false > 1000);
  });

  it("holds signatures that only the cofactored equation accepts: the set tells the two apart", () => {
    const split = edgeCases().filter(({ what, signature, message, publicKey }) => {
      const said = what.startsWith("low-order part") ? equations(signature, message, publicKey) : undefined;
      return said?.cofactored === true && !said.cofactorless;
    });
    assert.ok(split.length > 100, `${split.length}`);
  });

  it("tells a verifier that decides without the rule's checks in front", () => {
    const mutations = new Mutations(SEED);
    let differ = 0;
    for (let n = 0; n < 400; n++) {
      const { signature, message, publicKey } = mutations.caseAt(n);
      if (signature.length !== 64 || publicKey.length !== 32) continue;
      if (tweetnaclEngine.equation(signature, message, publicKey) !== libsodium(signature, message, publicKey))
        differ++;
    }
    // tweetnacl alone takes S above the order.
    assert.ok(differ > 10, `${differ}`);
  });

  it("takes a browser's own implementation where it gives the rule's verdicts, and no other", async () => {
    const subtle = webcrypto.subtle as unknown as SubtleEd25519;
    assert.equal((await browserEngine(subtle)).name, "WebCrypto");
    assert.equal((await browserEngine(undefined)).name, "tweetnacl");
    const cofactored: SubtleEd25519 = {
      importKey: async (_format, key) => key,
      verify: async (_algorithm, key: Uint8Array, signature, message) =>
        equations(signature, message, key)?.cofactored === true,
    };
    assert.equal((await browserEngine(cofactored)).name, "tweetnacl");
    const unknown = { ...cofactored, importKey: () => Promise.reject(new Error("NotSupportedError")) };
    assert.equal((await browserEngine(unknown)).name, "tweetnacl");
  });

  it("tells implementations apart by signatures that are what they are said to be", () => {
    for (const { publicKey, message, signature, accepted } of TELLING_SIGNATURES) {
      const parts = [fromHex(signature)!, fromHex(message)!, fromHex(publicKey)!] as const;
      assert.equal(byTheBook(...parts), accepted);
      assert.equal(libsodium(...parts), accepted);
      assert.equal(equations(...parts)!.cofactored, true);
    }
    assert.equal(TELLING_SIGNATURES.filter(({ accepted }) => !accepted).length, 2);
  });

  it("makes the same keys and signatures with every engine that signs", () => {
    for (let n = 0; n < 50; n++) {
      const seed = new Uint8Array(32).fill(n);
      const message = new Uint8Array(n * 3).fill(n);
      const publicKey = sodiumEngine.publicKey(seed);
      const signature = sodiumEngine.sign(message, seed, publicKey);
      for (const engine of [nodeEngine, tweetnaclEngine]) {
        assert.deepEqual(engine.publicKey(seed), publicKey, engine.name);
        assert.deepEqual(engine.sign(message, seed, publicKey), signature, engine.name);
        assert.ok(verifySignature(engine, signature, message, publicKey));
      }
    }
  });
});
