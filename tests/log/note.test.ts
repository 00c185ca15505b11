import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBase64, toBase64 } from "tallystick/bytes/base64";
import type { Result } from "tallystick/codes/codes";
import { portableCrypto } from "tallystick/identity/portable";
import { follow, formatCheckpoint, openCheckpoint, parseCheckpoint } from "tallystick/log/checkpoint";
import {
  cosignature,
  formatNote,
  formatVerifierKey,
  NOTE_MAX_SIGNATURES,
  openNote,
  parseNote,
  parseVerifierKey,
  SignatureType,
  signedMessage,
  type VerifierKey,
  verifierKey,
} from "tallystick/log/note";
import { readOpening } from "tallystick/log/opening";
import { newTiles, packBundle, parseTilePath, tilePath, tileWidth, unpackBundle } from "tallystick/log/tile";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { naiveConsistency, naiveLeaf, naiveRoot } from "../merkle/naive.js";

const utf8 = (text: string) => new Uint8Array(Buffer.from(text));
const code = (result: Result<unknown>) => (result.ok ? "ok" : result.failure.code);
const { sha256, ed25519 } = relayCrypto;

/** From C2SP signed-note and tlog-cosignature, as published there. */
const EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE_NOTE = `This is an example message.

\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;

function signerOf(name: string, seedByte: number, type: 1 | 4 = 1) {
  const seed = new Uint8Array(32).fill(seedByte);
  const key = verifierKey(sha256, name, type, ed25519.publicKey(seed));
  const sign = (text: string, timeS?: number) => {
    const signature = ed25519.sign(signedMessage(text, timeS), seed, key.publicKey);
    return { name, id: key.id, signature: timeS === undefined ? signature : cosignature(timeS, signature) };
  };
  return { key, sign };
}

describe("log: base64", () => {
  it("is what Node makes, and only its canonical form is read", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const text = Buffer.from(bytes).toString("base64");
        assert.equal(toBase64(bytes), text);
        assert.deepEqual(fromBase64(text), bytes);
      }),
    );
    for (const text of [
      "A",
      "AA",
      "AAA",
      "A===",
      "AA=A",
      "AB==",
      "AAB=",
      "A A=",
      "AA==\n",
      "AA-_",
      "====",
      "AAAA=AAA",
    ]) {
      assert.equal(fromBase64(text), undefined, text);
    }
  });
});

describe("log: signed notes", () => {
  const log = signerOf("relay.example/log", 1);
  const witness = signerOf("witness.example", 2, SignatureType.cosignature);
  const text = "relay.example/log\n5\ntext\n";

  it("the example of C2SP signed-note verifies, on both engines", () => {
    for (const crypto of [relayCrypto, portableCrypto]) {
      const key = parseVerifierKey(crypto.sha256, EXAMPLE_KEY);
      assert.ok(key.ok, code(key));
      assert.equal(formatVerifierKey(key.value), EXAMPLE_KEY);
      const note = openNote(crypto, utf8(EXAMPLE_NOTE), [key.value]);
      assert.ok(note.ok, code(note));
      assert.equal(note.value.text, "This is an example message.\n");
      assert.deepEqual(formatNote(note.value), utf8(EXAMPLE_NOTE));
    }
  });

  it("verifier keys: anything but the exact line is refused", () => {
    const line = formatVerifierKey(log.key);
    assert.equal(code(parseVerifierKey(sha256, line)), "ok");
    for (const wrong of [
      "",
      "a",
      "a+b",
      line.replace("relay", "delay"),
      line.replace("+", "++"),
      `${line} `,
      line.slice(0, -4),
      ` ${line}`,
      line.replace(/\+[0-9a-f]{8}\+/, "+00000000+"),
      line.replace(/\+([0-9a-f]{8})\+/, (_, id) => `+${id.toUpperCase()}+`),
    ]) {
      assert.equal(code(parseVerifierKey(sha256, wrong)), wrong === line ? "ok" : "NOTE_KEY_MALFORMED", wrong);
    }
    const lowOrder = new Uint8Array(32);
    assert.throws(() => verifierKey(sha256, "name", 1, lowOrder), RangeError);
    for (const name of ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb"]) {
      assert.throws(() => verifierKey(sha256, name, 1, log.key.publicKey), RangeError);
    }
  });

  it("lines of unknown keys are passed over; a known key's line must verify", () => {
    const stranger = signerOf("stranger.example", 3);
    const signatures = [stranger.sign(text), log.sign(text), witness.sign(text, 1_700_000_000), log.sign(text)];
    const bytes = formatNote({ text, signatures });
    const both = openNote(relayCrypto, bytes, [log.key, witness.key]);
    assert.ok(both.ok, code(both));
    assert.deepEqual(
      both.value.verified.map(({ key, timeS }) => [key.name, timeS]),
      [
        ["relay.example/log", undefined],
        ["witness.example", 1_700_000_000],
      ],
    );
    assert.equal(code(openNote(relayCrypto, bytes, [])), "NOTE_UNSIGNED");
    assert.equal(code(openNote(relayCrypto, bytes, [signerOf("relay.example/log", 4).key])), "NOTE_UNSIGNED");
    // A key that shares the name and the id, as an attacker can make one, only fails to verify.
    const collision: VerifierKey = { ...signerOf("relay.example/log", 4).key, id: log.key.id };
    assert.equal(code(openNote(relayCrypto, bytes, [collision])), "SIGNATURE_INVALID");
    const lying = { ...witness.sign(text, 5), signature: cosignature(6, witness.sign(text, 5).signature.slice(8)) };
    const lied = formatNote({ text, signatures: [log.sign(text), lying] });
    assert.equal(code(openNote(relayCrypto, lied, [log.key, witness.key])), "SIGNATURE_INVALID");
    assert.equal(code(openNote(relayCrypto, lied, [log.key])), "ok");
    const far = { ...witness.sign(text, 5), signature: new Uint8Array(72).fill(0xff) };
    const late = formatNote({ text, signatures: [log.sign(text), far] });
    assert.equal(code(openNote(relayCrypto, late, [log.key, witness.key])), "SIGNATURE_INVALID");
  });

  it("any flipped bit of text or signature is found", () => {
    const bytes = formatNote({ text, signatures: [log.sign(text)] });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const spoilt = bytes.slice();
      spoilt[bit >> 3]! ^= 1 << (bit & 7);
      const opened = openNote(relayCrypto, spoilt, [log.key]);
      assert.equal(opened.ok, false, `bit ${bit}`);
    }
  });

  it("what is no note", () => {
    const line = Buffer.from(formatNote({ text: "t\n", signatures: [log.sign("t\n")] }))
      .toString()
      .slice(3);
    assert.equal(code(parseNote(utf8(`t\n\n${line}`))), "ok");
    for (const wrong of [
      "",
      "\n",
      "\n\n",
      "t\n",
      "t\n\n",
      `t\n${line}`,
      `t\n\n${line.slice(0, -1)}`,
      `t\r\n\n${line}`,
      `t\u0000\n\n${line}`,
      `t\n\n${line}\n`,
      `t\n\n${line.replace("\u2014", "-")}`,
      `t\n\n\u2014 name \n`,
      `t\n\n\u2014  AAAAAAA=\n`,
      `t\n\n\u2014 a AAAA\n`,
      `t\n\n${line.repeat(NOTE_MAX_SIGNATURES + 1)}`,
    ]) {
      assert.equal(code(parseNote(utf8(wrong))), "NOTE_MALFORMED", JSON.stringify(wrong.slice(0, 60)));
    }
    assert.equal(code(parseNote(new Uint8Array([0x74, 0xff, 0x0a, 0x0a, ...utf8(line)]))), "NOTE_MALFORMED");
    assert.equal(code(parseNote(new Uint8Array(200_000).fill(0x61))), "NOTE_MALFORMED");
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void parseNote(bytes)));
  });

  it("the text keeps empty lines of its own", () => {
    const odd = "a\n\nb\n";
    const opened = openNote(relayCrypto, formatNote({ text: odd, signatures: [log.sign(odd)] }), [log.key]);
    assert.ok(opened.ok);
    assert.equal(opened.value.text, odd);
  });
});

describe("log: checkpoints", () => {
  const log = signerOf("relay.example/log", 1);
  const witness = signerOf("witness.example", 2, SignatureType.cosignature);
  const leaves = Array.from({ length: 9 }, (_, i) => naiveLeaf(utf8(`leaf ${i}`)));
  const checkpointOf = (size: number, origin = log.key.name) => {
    const text = formatCheckpoint({ origin, size, root: naiveRoot(leaves.slice(0, size)) });
    return formatNote({ text, signatures: [log.sign(text), witness.sign(text, 77)] });
  };

  it("size, root and cosignatures of a signed one", () => {
    const opened = openCheckpoint(relayCrypto, checkpointOf(7), log.key, [witness.key]);
    assert.ok(opened.ok, code(opened));
    assert.equal(opened.value.size, 7);
    assert.deepEqual(opened.value.root, naiveRoot(leaves.slice(0, 7)));
    assert.deepEqual(
      opened.value.cosignatures.map(({ timeS }) => timeS),
      [77],
    );
  });

  it("another origin, only a witness's signature, text that is no checkpoint", () => {
    assert.equal(code(openCheckpoint(relayCrypto, checkpointOf(7, "other.example"), log.key)), "CHECKPOINT_MALFORMED");
    const text = formatCheckpoint({ origin: log.key.name, size: 0, root: naiveRoot([]) });
    const onlyWitness = formatNote({ text, signatures: [witness.sign(text, 5)] });
    assert.equal(code(openCheckpoint(relayCrypto, onlyWitness, log.key, [witness.key])), "NOTE_UNSIGNED");
    assert.equal(code(parseCheckpoint(text)), "ok");
    const root = text.split("\n")[2];
    for (const wrong of [
      "",
      "\n",
      "o\n1\n",
      `o\n01\n${root}\n`,
      `o\n-1\n${root}\n`,
      `o\n1.5\n${root}\n`,
      `o\n9007199254740992\n${root}\n`,
      `o\n1\n${root}`,
      `o\n1\n${root}\nextension\n`,
      `\n1\n${root}\n`,
      `o\n1\n${root?.slice(4)}\n`,
      `o\n\n${root}\n`,
      `o\n1\n\n`,
      `o\n1e3\n${root}\n`,
      `o\n10000000000000000000000\n${root}\n`,
    ]) {
      assert.equal(code(parseCheckpoint(wrong)), "CHECKPOINT_MALFORMED", JSON.stringify(wrong));
    }
  });

  it("a follower pins what continues, keeps what it has on anything else", () => {
    const head = (size: number) => ({ size, root: naiveRoot(leaves.slice(0, size)) });
    assert.deepEqual(follow(sha256, undefined, head(4), []), { ok: true, value: head(4) });
    assert.deepEqual(follow(sha256, head(4), head(9), naiveConsistency(4, leaves)), { ok: true, value: head(9) });
    assert.equal(code(follow(sha256, head(4), head(4), [])), "ok");
    assert.equal(code(follow(sha256, head(9), head(4), [])), "CHECKPOINT_STALE");
    assert.equal(code(follow(sha256, head(4), head(9), [])), "PROOF_MALFORMED");
    assert.equal(
      code(follow(sha256, { size: 4, root: leaves[0]! }, head(9), naiveConsistency(4, leaves))),
      "CONSISTENCY_FALSE",
    );
    assert.equal(code(follow(sha256, { size: 9, root: leaves[0]! }, head(9), [])), "CONSISTENCY_FALSE");
  });
});

describe("log: tiles", () => {
  it("paths as C2SP tlog-tiles writes them, there and back", () => {
    assert.equal(tilePath({ level: 0, index: 1234067, width: 256 }), "tile/0/x001/x234/067");
    assert.equal(tilePath({ level: 1, index: 0, width: 5 }), "tile/1/000.p/5");
    assert.equal(tilePath({ level: "entries", index: 1000, width: 256 }), "tile/entries/x001/000");
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(63), fc.constant("entries" as const)),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          assert.deepEqual(parseTilePath(tilePath({ level, index, width })), { level, index, width });
        },
      ),
    );
    for (const path of [
      "",
      "tile",
      "tile/0",
      "tile/0/0",
      "tile/0/00",
      "tile/0/0000",
      "tile/00/000",
      "tile/64/000",
      "tile/0/x000/000",
      "tile/0/001/000",
      "tile/0/000.p/0",
      "tile/0/000.p/256",
      "tile/0/000.p/01",
      "tile/0/000.p",
      "tile/-1/000",
      "/tile/0/000",
      "tile/0/../000",
      "tile/data/000",
      "tile/0/x009/x007/x199/x254/x740/992",
      "tile/0/000\n",
    ]) {
      assert.equal(parseTilePath(path), undefined, path);
    }
  });

  it("the tree of 70,000 of the specification: its tiles and their widths", () => {
    const tiles = newTiles(0, 70_000);
    const at = (level: number) => tiles.filter((tile) => tile.level === level);
    assert.equal(at(0).length, 274);
    assert.equal(at(0).filter(({ width }) => width === 256).length, 273);
    assert.equal(at(0).at(-1)?.width, 112);
    assert.deepEqual(
      at(1).map(({ width }) => width),
      [256, 17],
    );
    assert.deepEqual(
      at(2).map(({ width }) => width),
      [1],
    );
    assert.equal(at(3).length, 0);
    assert.equal(tileWidth(0, 274, 70_000), 0);
  });

  it("new tiles are those whose width differs, for drawn sizes", () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.nat(3000), (oldSize, more) => {
        const expected = [];
        for (let level = 0; level < 3; level++) {
          for (let index = 0; tileWidth(level, index, oldSize + more) > 0; index++) {
            const width = tileWidth(level, index, oldSize + more);
            if (width !== tileWidth(level, index, oldSize)) expected.push({ level, index, width });
          }
        }
        assert.deepEqual(newTiles(oldSize, oldSize + more), expected);
      }),
      { numRuns: 50 },
    );
  });

  it("bundles: what was packed, and nothing else", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (entries) => {
        const bundle = packBundle(entries);
        const unpacked = unpackBundle(bundle, entries.length);
        assert.ok(unpacked.ok);
        assert.deepEqual(unpacked.value, entries);
        assert.equal(code(unpackBundle(bundle, entries.length + 1)), "LOG_TILE_CORRUPT");
        assert.equal(code(unpackBundle(new Uint8Array([...bundle, 0]), entries.length)), "LOG_TILE_CORRUPT");
        if (bundle.length > 0) {
          assert.equal(code(unpackBundle(bundle.slice(0, -1), entries.length)), "LOG_TILE_CORRUPT");
          assert.equal(code(unpackBundle(bundle, entries.length - 1)), "LOG_TILE_CORRUPT");
        }
      }),
    );
    assert.throws(() => packBundle([new Uint8Array(65_536)]), RangeError);
  });
});

describe("log: opening statement", () => {
  it("drawn bytes are refused without a throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
        assert.equal(readOpening(relayCrypto, bytes).ok, false),
      ),
    );
  });
});
