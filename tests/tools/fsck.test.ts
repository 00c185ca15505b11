import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { crc32c } from "tallystick/journal/crc32c";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { examine } from "../../tools/fsck/examine.js";
import { fsck } from "../../tools/fsck/fsck.js";
import { readKey } from "../../tools/fsck/keys.js";
import { CARRYING, deviceKey, FILLING_RECORDS, JournalDevice, SECTOR_BYTES, torn, VERDICT } from "./journal-images.js";
import { inThisProcess, play, TALLYSTICK } from "./session.js";

/** Offset of the first record's body: behind sector header, position frame and the record's own header. */
const FIRST_BODY = 64 + 12;

describe("tallystick fsck", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-fsck-"));
  const write = (name: string, content: Uint8Array | string) => writeFileSync(join(folder, name), content);
  after(() => rmSync(folder, { recursive: true, force: true }));
  const { did } = deviceKey("attic");
  const another = deviceKey("cellar");
  const here = inThisProcess((file, _, key) => fsck(file!, key === undefined ? [] : [readKey(key)!], false));

  before(() => {
    for (const [prefix, writeUnitBytes] of [
      ["", 1],
      ["encrypted-", 32],
    ] as const) {
      const begun = (count: number) => {
        const device = new JournalDevice({ writeUnitBytes });
        return { device, journal: device.write(count) };
      };
      write(`${prefix}clean`, begun(3).device.image());
      const body = begun(3);
      body.device.cutCommit(body.journal, "body", 100);
      write(`${prefix}torn-body`, body.device.image());
      body.device.cutMount(torn(VERDICT.second, 10));
      write(`${prefix}torn-verdict`, body.device.image());
      const signature = begun(3);
      signature.device.cutCommit(signature.journal, "signature", 60);
      write(`${prefix}torn-signature`, signature.device.image());
    }
    // A record that fills its sector, and one that is torn in a sector of its own.
    const filled = new JournalDevice();
    filled.cutCommit(filled.write(FILLING_RECORDS[1] - 1), "signature", 60);
    write("filled", filled.image());
    filled.cutMount(torn(CARRYING.position, 10));
    write("carrying", filled.image());
    filled.cutMount(torn(CARRYING.signature, 20));
    write("carried", filled.image());
    const alone = new JournalDevice();
    alone.cutCommit(alone.write(FILLING_RECORDS[1]), "body", 60);
    write("torn-alone", alone.image());
    write("empty", new JournalDevice().image());

    const old = new JournalDevice();
    old.write(400, { release: true });
    write("old", old.image());

    const long = new JournalDevice();
    long.write(50);
    const image = long.image();
    write("cut", image.subarray(0, 2 * SECTOR_BYTES + 100));
    write("larger", Buffer.concat([image, new Uint8Array(8 * SECTOR_BYTES).fill(0xff)]));
    const newer = image.slice();
    newer[2] = 2;
    new DataView(newer.buffer).setUint32(28, crc32c(newer, 0, 28));
    write("newer", newer);
    const header = image.slice();
    header[SECTOR_BYTES + 12]! ^= 1;
    write("damaged-header", header);
    header[2 * SECTOR_BYTES + 12]! ^= 1;
    write("damaged-headers", header);
    // The next sector, and the one behind it: both openings were cut in their erase.
    write("cut-openings", image.slice().fill(0, 3 * SECTOR_BYTES, 5 * SECTOR_BYTES));
    // In the payload of seq 1, and in the body of the newest record, which was signed.
    const flipped = image.slice();
    flipped[FIRST_BODY + 268 + 100]! ^= 1;
    write("flipped", flipped);
    const signature = image.slice();
    signature[FIRST_BODY + 268 + 150]! ^= 1;
    write("flipped-signature", signature);
    const tail = image.slice();
    tail[2 * SECTOR_BYTES + 0x810 + 100]! ^= 1;
    write("damaged-tail", tail);
    // The header of the newest record, which a verdict behind it names.
    const voided = new JournalDevice();
    voided.cutCommit(voided.write(3), "body", 100);
    voided.mount();
    const gone = voided.image();
    gone[FIRST_BODY - 12 + 268 + 200]! ^= 1;
    write("gone", gone);
    // The same, with nothing behind.
    const last = image.slice();
    last[2 * SECTOR_BYTES + 0x810]! ^= 1;
    write("damaged-last", last);

    // Two records that another key signed; the one behind them names them all the same.
    const forged = new JournalDevice();
    const journal = forged.write(2);
    const { sign } = forged.key.signer;
    forged.key.signer.sign = another.signer.sign;
    forged.write(2, { journal });
    forged.key.signer.sign = sign;
    forged.write(1, { journal });
    write("forged", forged.image());

    write("blank", new Uint8Array(8 * SECTOR_BYTES).fill(0xff));
    write("random", new SeededRandom(1).bytes(8 * SECTOR_BYTES));
    write("few", new SeededRandom(1).bytes(1000));
    write("nothing", "");
  });

  it("says that there is nothing to do, and what the journal holds", () =>
    play(
      `
$ tallystick fsck clean
journal of 8 sectors of 4096 bytes, plain NOR
key ${did}, from the genesis record in the image

recovery, at the next start:
  nothing to do

then:
  head         seq 2 readings, id …
  first held   seq 0
  released     nothing, by what the flash holds
  usage        1 of 6 sectors, 5 free: normal
  records      3 read back, 3 signatures verify

verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck empty
journal of 8 sectors of 4096 bytes, plain NOR

recovery, at the next start:
  nothing to do

then:
  head         none: no record was ever committed
  released     nothing, by what the flash holds
  usage        0 of 6 sectors, 6 free: normal
  records      0 read back, 0 signatures verify

verdict: clean: the next start has nothing to do
[0]
`,
      folder,
      here,
    ));

  it("says what recovery would write, where and why, and exits with 1", () =>
    play(
      `
$ tallystick fsck torn-body
…
recovery, at the next start:
  would write zeros over the slot at sector 0, byte 0x03a4: a start that was cut may have begun to write there
  would write two void frames at sector 0, byte 0x03b0: the body of seq 3 at sector 0, byte 0x02dc is torn

then:
  head         seq 2 readings, id …
…
verdict: not clean: the next start would write
[1]
$ tallystick fsck torn-verdict
…
recovery, at the next start:
  would erase sector 1 and open it as ordinal 9: bits behind the last frame of sector 0 are programmed, and nothing is appended there any more
  would write two void frames at sector 1, byte 0x0040: nothing right behind what the sector ends with proves that it was written to the end
…
verdict: not clean: the next start would write
[1]
$ tallystick fsck torn-signature
…
recovery, at the next start:
  would write zeros over the slot at sector 0, byte 0x03a4: …
  would give seq 3 fresh cells at sector 0, byte 0x03b0: its body at sector 0, byte 0x02dc is whole, and no signature there verifies
…
then:
  head         seq 3 readings, its id is known when the device has signed it
…
  records      3 read back, 3 signatures verify

verdict: not clean: the next start would write
[1]
$ tallystick fsck filled
…
recovery, at the next start:
  would erase sector 1 and open it as ordinal 9 with seq 18 in it: its body at sector 0, byte 0x0e94 is whole, and no signature there verifies. The position frame comes behind its body, then its signature
…
[1]
$ tallystick fsck carrying
…
recovery, at the next start:
  would erase sector 1 (its opening was cut) and open it again with seq 18 in it: its body at sector 0, byte 0x0e94 is whole, and no signature there verifies. …
…
[1]
$ tallystick fsck torn-alone
…
recovery, at the next start:
  would erase sector 1 and open it again: it holds nothing but a torn record

then:
  head         seq 18 readings, id …
…
[1]
`,
      folder,
      here,
    ));

  it("believes a frame that names a record whose signature only the device can make again, and says so", () =>
    play(
      `
$ tallystick fsck carried
…
recovery, at the next start:
  would write zeros over the slot at sector 1, byte 0x0108: a start that was cut may have begun to write there
  would write two void frames at sector 1, byte 0x0114: nothing right behind what the sector ends with proves that it was written to the end

then:
  head         seq 18 readings, its id is known when the device has signed it
  first held   seq 0
  released     nothing, by what the flash holds
  usage        2 of 6 sectors, 4 free: normal
  records      18 read back, 18 signatures verify

note: seq 18: its cells do not hold its signature; the device makes it again, which this command cannot: a frame says that it stands, which is believed here

verdict: not clean: the next start would write
[1]
$ tallystick fsck flipped-signature
…
recovery, at the next start:
  nothing to do
…
  records      49 read back, 49 signatures verify

note: seq 1: its cells do not hold its signature; …

verdict: nothing to do, but not every signature could be verified
[3]
`,
      folder,
      here,
    ));

  it("reads an encrypted partition as the device does, and says what no dump of one can tell", () =>
    play(
      `
$ tallystick fsck encrypted-torn-body
journal of 8 sectors of 4096 bytes, write units of 32 bytes
…
  would write two void frames at sector 0, byte 0x0420: the body of seq 3 at sector 0, byte 0x0320 is torn
  no dump of an encrypted partition tells which units a cut has touched: …
…
[1]
$ tallystick fsck encrypted-torn-signature
…
  would give seq 3 fresh cells at sector 0, byte 0x0420: …
…
[1]
`,
      folder,
      here,
    ));

  it("says that it verifies nothing where it knows no key, and takes one", () => {
    play(
      `
$ tallystick fsck old
journal of 8 sectors of 4096 bytes, plain NOR
no key is known for kid …: its genesis record is not in the image, and --key does not name it. No signature of it is verified here: …

recovery, at the next start:
  nothing to do
  if the newest signature is not genuine:
    would write zeros over …
    would give seq 399 fresh cells at …
…
  released     up to seq 398
…
  records      121 read back, 0 signatures verify
…
verdict: nothing to do, but not every signature could be verified
[3]
$ tallystick fsck old --key ${another.did}
tallystick fsck: old: JOURNAL_FOREIGN: the journal was written with another device's key (…); check that flash and key store belong to one device; …
[2]
`,
      folder,
      here,
    );
    play(
      `
$ tallystick fsck old --key ${did}
journal of 8 sectors of 4096 bytes, plain NOR
key ${did}, from --key
…
  records      121 read back, 121 signatures verify
…
verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck old --key nonsense
error: --key: expected a did:key or 64 hexadecimal digits of an Ed25519 key, got nonsense
(--help lists what it takes)
[2]
`,
      folder,
    );
  });

  it("names what is damaged with its code", () =>
    play(
      `
$ tallystick fsck flipped
…
  records      49 read back, 49 signatures verify
…
damaged:
  seq 1: JOURNAL_RECORD_DAMAGED: the flash changed a record that was committed (…); fetch the record from the relay; …

verdict: damaged
[1]
$ tallystick fsck forged
…
  records      5 read back, 3 signatures verify
…
damaged:
  seq 2: SIGNATURE_INVALID: the signature does not verify by the one rule (it was not signed by the key with kid …); …
  seq 3: SIGNATURE_INVALID: …

verdict: damaged
[1]
$ tallystick fsck damaged-tail
…
  head         seq 48 readings, id …
…
damaged:
  JOURNAL_TAIL_DAMAGED: the newest record was committed, and the flash changed it since (…); …

verdict: damaged
[1]
$ tallystick fsck damaged-last
…
then:
  head         seq 48 readings, id …
…
damaged:
  JOURNAL_TAIL_DAMAGED: the newest record was committed, and the flash changed it since (the header of the frame at sector 10, byte 2064 has changed since its record was written); …

verdict: damaged
[1]
$ tallystick fsck gone
…
then:
  head         seq 1 readings, id …
…
damaged:
  JOURNAL_TAIL_DAMAGED: the newest record was committed, and the flash changed it since (sector 8 names a record that cannot be read); …

verdict: damaged
[1]
$ tallystick fsck damaged-header
…
  records      50 read back, 50 signatures verify
…
damaged:
  sector 1: damaged header: its CRC does not hold; its frames are read all the same, and the next round of the ring writes it anew

verdict: damaged
[1]
$ tallystick fsck damaged-headers
…
  head         seq 49 readings, id …
…
damaged:
  sector 1: damaged header: its CRC does not hold; its frames are read all the same, …
  sector 2: damaged header: its CRC does not hold; its frames are read all the same, …

verdict: damaged
[1]
$ tallystick fsck cut-openings
…
recovery, at the next start:
  nothing to do
…
verdict: clean: the next start has nothing to do
[0]
`,
      folder,
      here,
    ));

  it("exits with 2, and one line, where there is no journal that it can read", () =>
    play(
      `
$ tallystick fsck cut
tallystick fsck: cut: FILE_UNREADABLE: the file cannot be read (expected 32768 bytes, received 8292; read the whole partition); …
[2]
$ tallystick fsck random
tallystick fsck: random: JOURNAL_UNREADABLE: the partition holds no journal that can be read (none of 8 sectors has a sound header; of an encrypted partition, dump what the device reads, or decrypt the dump); keep an image of it; …
[2]
$ tallystick fsck absent
tallystick fsck: absent: FILE_UNREADABLE: …
[2]
`,
      folder,
      here,
    ));

  it("fails with what the device would fail with", () => {
    const failureOf = (name: string) => {
      const said = examine(new Uint8Array(readFileSync(join(folder, name))), []);
      return said.ok ? "" : `${said.failure.code}: ${said.failure.detail}`;
    };
    assert.equal(
      failureOf("larger"),
      "JOURNAL_GEOMETRY: the journal was made for 8 sectors of 4096 bytes in units of 1, this partition has 16 sectors",
    );
    assert.equal(failureOf("newer"), "JOURNAL_NEWER: the header at 0x0 is of format 2; this reads 1");
    assert.match(failureOf("blank"), /^JOURNAL_BLANK/);
    assert.match(failureOf("few"), /^JOURNAL_GEOMETRY/);
    assert.match(failureOf("nothing"), /^JOURNAL_GEOMETRY/);
  });

  it("takes a key as its did or in hexadecimal", () => {
    const { publicKey } = deviceKey("attic");
    for (const text of [did, toHex(publicKey)]) assert.deepEqual(readKey(text)?.publicKey, publicKey);
  });

  it("prints one JSON document, also of a failure, and leaves the file as it is", () => {
    const file = join(folder, "torn-signature");
    const before = readFileSync(file);
    chmodSync(file, 0o444);
    const command = [TALLYSTICK, "fsck", "--json", "torn-signature"];
    const document = JSON.parse(spawnSync(process.execPath, command, { cwd: folder, encoding: "utf8" }).stdout);
    assert.equal(document.verdict, "recovers");
    assert.equal(document.tail, "signed");
    assert.deepEqual(
      document.recovery.map(({ text: _, ...step }: Record<string, unknown>) => step),
      [
        { kind: "spend", sector: 0, offset: 0x3a4 },
        { kind: "record", sector: 0, offset: 0x3b0, seq: 3 },
      ],
    );
    assert.equal(document.head.id, null);
    // What stands in for the signature that only the device can make is nowhere shown.
    assert.ok(!JSON.stringify(document).includes("50".repeat(8)));
    assert.deepEqual(document.keys, [
      { kid: toHex(deviceKey("attic").signer.kid), did, source: "the genesis record in the image" },
    ]);
    assert.deepEqual(readFileSync(file), before);

    const hereInJson = inThisProcess((name) => fsck(name!, [], true));
    const refused = hereInJson("fsck newer", folder);
    assert.equal(refused.left, 2);
    const { verdict, failure } = JSON.parse(refused.received);
    assert.equal(verdict, "unreadable");
    assert.equal(failure.code, "JOURNAL_NEWER");
  });
});
