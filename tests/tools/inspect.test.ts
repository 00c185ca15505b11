import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeForkProof } from "tallystick/chain/fork";
import { encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { readAlert } from "tallystick/record/payload";
import { Kind, parseRecord } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { inspect } from "../../tools/inspect/inspect.js";
import { FixtureDevice, readingPayload } from "../fixtures/device.js";
import { JournalDevice, SECTOR_BYTES } from "./journal-images.js";
import { play, TALLYSTICK } from "./session.js";

const vector = (name: string) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const records = (vector("record").records as { record: string }[]).map(({ record }) => fromHex(record)!);
const evidence = fromHex(vector("evidence").evidence)!;

const SECTORS = 8;

/** A formatted partition of plain NOR flash without a record. */
const journalImage = (): Uint8Array => new JournalDevice({ sectors: SECTORS }).image();

describe("tallystick inspect", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-inspect-"));
  const write = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  after(() => rmSync(folder, { recursive: true, force: true }));

  before(() => {
    write("record", records[0]!);
    write(
      "record.hex",
      `${Buffer.from(records[0]!)
        .toString("hex")
        .replace(/(.{60})/g, "$1\n")}\n`,
    );
    write("sequence", Buffer.concat(records.slice(0, 2)));
    write("alert", records[6]!);
    write("cut", Buffer.concat([records[0]!, records[1]!.subarray(0, 100)]));
    write("evidence", evidence);
    const bundle = readBundle(evidence);
    assert.ok(bundle.ok);
    const revocation = fromHex(vector("keys").revocation)!;
    const relayKeys = [fromHex(vector("relay-key").rotation)!];
    write("revoked", encodeBundle({ ...bundle.value, revocations: [revocation], relayKeys }));
    write("revocation", revocation);
    write("acknowledgement", fromHex(vector("acknowledgement").acknowledgement)!);
    write("acknowledgement.erased", fromHex(vector("acknowledgement").erased.acknowledgement)!);
    const device = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(3) });
    const branches = [1, 2].map((value) => device.make(Kind.readings, readingPayload(value), device.head));
    const { publicKey } = device.identity;
    write("fork", encodeForkProof(relayCrypto.sha256, publicKey, branches[0]!, branches[1]!));
    write("journal", journalImage());
    write("journal.cut", journalImage().subarray(0, 3 * SECTOR_BYTES + 5));
    write("empty", "");
    write("text", "not a record");
  });

  it("says what a device has found in its own readings, and in which records", () => {
    const alert = parseRecord(records[6]!);
    assert.ok(alert.ok);
    const content = readAlert(alert.value.payload);
    assert.ok(content.ok);
    const id = toHex(content.value.records[0]!);
    play(
      `
$ tallystick inspect alert
record …
…
         kind     6 alert
…
0000… payload, … bytes
         stuck: temperature did not move for an hour
         record   ${id}
0000… signature …
[0]`,
      folder,
    );
  });

  it("prints every field with its offset", () =>
    play(
      `
$ tallystick inspect record
record …
000000 COSE_Sign1, ${records[0]!.length} bytes
000004 protected header, … bytes
         kid      …
         kind     0 genesis
         boot     0
         seq      0
         prev     ${"0".repeat(64)}
         uptime   … ms
         clock    …
0000… payload, … bytes
         did      did:key:z6Mk…
         print    …-…-…-…-…, to compare by eye
…
0000… signature …
[0]
$ tallystick inspect journal
journal of ${SECTORS} sectors of ${SECTOR_BYTES} bytes, plain NOR
…
[0]
$ tallystick inspect evidence
evidence of the log tallystick.example/log

record …
…
receipt: index …
…
checkpoint
  tallystick.example/log
…
claimed log key tallystick.example/log+…
[0]
`,
      folder,
    ));

  it("says what is damaged and where, and exits with 2", () =>
    play(
      `
$ tallystick inspect cut
record …
…
tallystick inspect: cut: at byte ${records[0]!.length}: CBOR_INVALID: …
[2]
$ tallystick inspect journal.cut
journal of ${SECTORS} sectors of ${SECTOR_BYTES} bytes, plain NOR
…
tallystick inspect: journal.cut: FILE_UNREADABLE: the file cannot be read (expected ${SECTORS * SECTOR_BYTES} bytes, received ${3 * SECTOR_BYTES + 5}; read the whole partition); …
[2]
$ tallystick inspect empty
tallystick inspect: empty: it is empty; expected a record or a statement (d2 84 …), the proof of a fork, a journal image or an evidence file
[2]
$ tallystick inspect text
tallystick inspect: text: expected a record or a statement (d2 84 …), the proof of a fork, a journal image or an evidence file; as evidence: CBOR_INVALID: …
[2]
$ tallystick inspect absent
tallystick inspect: absent: FILE_UNREADABLE: …
[2]
`,
      folder,
    ));

  it("prints the revocations that an evidence file carries, and the changes of keys that make them count", () =>
    play(
      `
$ tallystick inspect revoked
evidence of the log tallystick.example/log
…
claimed log key …
revocation of … from seq 3 on
  signed in the name of …
  said at 2026-09-21T14:13:20.000Z
  reason "board lost"
change of the relay's keys, generation 1 of tallystick.example/log
  signed in the name of …
  device-facing key did:key:z6Mk…
  log key tallystick.example/log+…
[0]
`,
      folder,
    ));

  it("prints an acknowledgement, a revocation and the proof of a fork", () =>
    play(
      `
$ tallystick inspect acknowledgement
acknowledgement of device a3adabaad93b5f38
  signed in the name of feb2c20f354b30c5
  received seq 7  …
  logged   seq 5  …
  final    seq 2  …
  log_by   2026-09-21T14:14:20.000Z
  time     2026-09-21T14:13:20.123Z
  nonce    55555555555555555555555555555555
  checkpoint of tallystick.example/log: size …, root …
  consistency path of … from size 3
[0]
$ tallystick inspect acknowledgement.erased
acknowledgement of device a3adabaad93b5f38
…
  log_by   2026-09-21T14:14:20.000Z
  erased   seq 4, the lowest above the head that was asked from
  time     2026-09-21T14:13:20.123Z
…
[0]
$ tallystick inspect revocation
revocation of … from seq 3 on
…
  reason "board lost"
[0]
$ tallystick inspect fork
proof of a fork of …
key did:key:z6Mk…
  print …-…-…-…-…, to compare by eye

record …
…
         seq      1
…

record …
…
         seq      1
…
[0]
`,
      folder,
    ));

  it("reads hexadecimal and standard input alike", () => {
    const of = (file: string, input?: Uint8Array) => {
      const { stdout, status } = spawnSync(process.execPath, [TALLYSTICK, "inspect", file], { cwd: folder, input });
      assert.equal(status, 0);
      return stdout.toString("utf8");
    };
    const plain = of("record");
    assert.equal(of("record.hex"), plain);
    assert.equal(of("-", records[0]), plain);
    assert(of("sequence").startsWith(plain), "a sequence begins with its first record");
  });

  it("throws at no bytes at all, and says so of whatever does not read", () => {
    const device = new JournalDevice({ sectors: SECTORS });
    device.write(25);
    const others = ["acknowledgement", "revocation", "fork", "revoked"].map(
      (name) => new Uint8Array(readFileSync(join(folder, name))),
    );
    const originals = [records[0]!, records[1]!, evidence, journalImage(), device.image(), ...others];
    const damaged = fc.record({
      original: fc.nat(originals.length - 1),
      flips: fc.array(fc.tuple(fc.nat(1_000_000), fc.nat(7)), { maxLength: 4 }),
      // Half of the cuts lie in the first sector, where the headers are.
      keep: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(1)),
    });
    fc.assert(
      fc.property(damaged, ({ original, flips, keep }) => {
        const bytes = originals[original]!.slice(0, Math.floor(originals[original]!.length * keep));
        for (const [at, bit] of flips) if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << bit;
        const { lines, failure } = inspect(bytes);
        assert(lines.length > 0 || failure !== undefined);
        if (keep < 1) assert(failure !== undefined, "something is missing");
        assert(!lines.some((line) => line.includes("undefined") || line.includes("[object")), lines.join("\n"));
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert(inspect(bytes).failure !== undefined);
      }),
    );
  });
});
