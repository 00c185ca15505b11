import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "tallystick/bytes/bytes";
import { parseNote } from "tallystick/log/note";
import {
  ADD_CHECKPOINT_MAX_BYTES,
  encodeAddCheckpoint,
  makeCosignature,
  readAddCheckpoint,
  readHeldSize,
  withCosignatures,
} from "tallystick/log/witness";
import { PATH_MAX_HASHES } from "tallystick/merkle/proof";
import { must, signerOf } from "../witness/fixture.js";

/** From C2SP tlog-witness, as published there. */
const EXAMPLE = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`;

describe("log: what is said to a witness", () => {
  it("the example of C2SP tlog-witness is read, and written byte for byte", () => {
    const request = must(readAddCheckpoint(utf8(EXAMPLE)));
    assert.deepEqual([request.oldSize, request.path.length], [20852014, 4]);
    assert.equal(must(parseNote(request.checkpoint)).signatures.length, 2);
    assert.deepEqual(encodeAddCheckpoint(request), utf8(EXAMPLE));
  });

  it("any request comes back as it was, up to the most hashes and the longest note", () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.array(hash, { maxLength: PATH_MAX_HASHES }),
        fc.uint8Array({ maxLength: 200 }),
        (oldSize, path, checkpoint) => {
          assert.deepEqual(must(readAddCheckpoint(encodeAddCheckpoint({ oldSize, path, checkpoint }))), {
            oldSize,
            path,
            checkpoint,
          });
        },
      ),
      { numRuns: 200 },
    );
    const path = Array.from({ length: PATH_MAX_HASHES }, () => new Uint8Array(32));
    const largest = { oldSize: Number.MAX_SAFE_INTEGER, path, checkpoint: new Uint8Array(131_072) };
    const bytes = encodeAddCheckpoint(largest);
    assert.equal(bytes.length, ADD_CHECKPOINT_MAX_BYTES);
    assert.equal(must(readAddCheckpoint(bytes)).path.length, PATH_MAX_HASHES);
    assert.equal(readAddCheckpoint(new Uint8Array(bytes.length + 1)).ok, false);
    assert.throws(() => encodeAddCheckpoint({ ...largest, path: [...path, path[0]!] }), RangeError);
    assert.throws(() => encodeAddCheckpoint({ ...largest, oldSize: -1 }), RangeError);
  });

  it("a changed byte of the header never reads as the same request, and a request has one spelling", () => {
    const header = EXAMPLE.indexOf("\n\n") + 2;
    const bytes = utf8(EXAMPLE);
    let refused = 0;
    for (let at = 0; at < header; at++) {
      for (const bit of [1, 4, 32, 128]) {
        const changed = bytes.slice();
        changed[at]! ^= bit;
        const read = readAddCheckpoint(changed);
        if (!read.ok) refused++;
        else assert.deepEqual(encodeAddCheckpoint(read.value), changed);
      }
    }
    assert.ok(refused > header, `${refused} refused`);
  });

  it("a held size is one number in decimal and a newline", () => {
    assert.equal(readHeldSize(utf8("0\n")), 0);
    assert.equal(readHeldSize(utf8("9007199254740991\n")), Number.MAX_SAFE_INTEGER);
    for (const text of ["", "\n", "1", "01\n", "+1\n", "1\n\n", " 1\n", "9007199254740992\n", "1e3\n"])
      assert.equal(readHeldSize(utf8(text)), undefined, JSON.stringify(text));
  });

  it("a cosignature has a time; a later one of the same key takes the earlier one's place", () => {
    const log = signerOf("log.example", 1);
    const witness = signerOf("witness.example", 2, 4);
    const other = signerOf("witness.example/2", 3, 4);
    for (const timeS of [0, -1, 1.5, Number.NaN])
      assert.throws(() => makeCosignature(witness.key, "text\n", timeS, () => new Uint8Array(64)), RangeError);
    const text = "log.example\n1\ntext\n";
    const bare = utf8(`${text}\n\u2014 x AAAAAAAA\n`);
    assert.equal(must(withCosignatures(bare, [])), bare);
    const once = must(withCosignatures(bare, [witness.line(text, 1), other.line(text, 1)]));
    const twice = must(parseNote(must(withCosignatures(once, [witness.line(text, 2)]))));
    assert.deepEqual(
      twice.signatures.map(({ name }) => name),
      ["x", "witness.example/2", "witness.example"],
    );
    assert.equal(twice.signatures[2]!.signature[7], 2);
    assert.notDeepEqual(log.key.id, witness.key.id);
  });
});
