import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { crc32c } from "tallystick/journal/crc32c";
import type { Flash } from "tallystick/journal/flash";
import { geometryOf } from "tallystick/journal/layout";
import { PowerCut } from "../../hosts/simulator/board.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import type { Tear } from "../../hosts/simulator/world/tear.js";
import { examine } from "../../tools/fsck/examine.js";
import type { Operation } from "../../tools/fsck/image-flash.js";
import { stepsOf } from "../../tools/fsck/steps.js";
import { deviceKey, JournalDevice, SECTOR_BYTES, torn, VERDICT } from "./journal-images.js";
import { play, TALLYSTICK } from "./session.js";

/** Offset of the first record's body: behind sector header, position frame and the record's own header. */
const FIRST_BODY = 64 + 12;

describe("tallystick fsck", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-fsck-"));
  const write = (name: string, content: Uint8Array | string) => writeFileSync(join(folder, name), content);
  after(() => rmSync(folder, { recursive: true, force: true }));
  const { did } = deviceKey("attic");
  const another = deviceKey("cellar");

  before(() => {
    for (const [prefix, writeUnitBytes] of [
      ["", 1],
      ["encrypted-", 32],
    ] as const) {
      const begun = (count: number) => {
        const device = new JournalDevice({ writeUnitBytes });
        return { device, journal: device.write(count) };
      };
      const clean = begun(3);
      write(`${prefix}clean`, clean.device.image());
      clean.device.mount().record(2);
      write(`${prefix}copied`, clean.device.image());
      const body = begun(3);
      body.device.cutCommit(body.journal, "body", 100);
      write(`${prefix}torn-body`, body.device.image());
      body.device.cutMount(torn(VERDICT.second, 10));
      write(`${prefix}torn-verdict`, body.device.image());
      const signature = begun(3);
      signature.device.cutCommit(signature.journal, "signature", 60);
      write(`${prefix}torn-signature`, signature.device.image());
    }
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
    // In the payload of seq 1, and in the body of the newest record, which was signed.
    const flipped = image.slice();
    flipped[FIRST_BODY + 268 + 100]! ^= 1;
    write("flipped", flipped);
    const tail = image.slice();
    tail[2 * SECTOR_BYTES + 0x810 + 100]! ^= 1;
    write("damaged-tail", tail);

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

when the newest record is next followed or read:
  would write zeros over the slot at sector 0, byte 0x02dc: a start that was cut may have begun to write there
  would copy seq 2 into fresh cells at sector 0, byte 0x02e8: nothing behind it proves that its cells were driven to the end
  would seal the copy with a void frame at sector 0, byte 0x03b0

verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck copied
…
recovery, at the next start:
  nothing to do

then:
…
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
  would write zeros over the slot at sector 0, byte 0x03bc: …
  would write two void frames at sector 0, byte 0x03c8: the verdict before has nothing right behind it that proves it
…
verdict: not clean: the next start would write
[1]
$ tallystick fsck torn-signature
…
recovery, at the next start:
  would write zeros over the slot at sector 0, byte 0x03a4: …
  would sign seq 3 again into fresh cells at sector 0, byte 0x03b0: its body at sector 0, byte 0x02dc is whole, and no signature there verifies

then:
  head         seq 3 readings, its id is known when the device has signed it
…
  records      3 read back, 3 signatures verify

verdict: not clean: the next start would write
[1]
`,
      folder,
    ));

  it("reads an encrypted partition as the device does, and says what no dump of one can tell", () =>
    play(
      `
$ tallystick fsck encrypted-clean
journal of 8 sectors of 4096 bytes, write units of 32 bytes
…
  records      3 read back, 3 signatures verify
…
verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck encrypted-torn-body
…
  would write two void frames at sector 0, byte 0x0420: the body of seq 3 at sector 0, byte 0x0320 is torn
  no dump of an encrypted partition tells which units a cut has touched: …
…
[1]
$ tallystick fsck encrypted-torn-verdict
…
  would write two void frames at sector 0, byte 0x0460: the verdict before has nothing right behind it that proves it
…
[1]
$ tallystick fsck encrypted-torn-signature
…
  would sign seq 3 again into fresh cells at sector 0, byte 0x0420: …
…
[1]
`,
      folder,
    ));

  it("says that it verifies nothing where it knows no key, and takes one", () =>
    play(
      `
$ tallystick fsck old
journal of 8 sectors of 4096 bytes, plain NOR
no key is known for kid …: its genesis record is not in the image, and --key does not name it. No signature of it is verified here: …

recovery, at the next start:
  nothing to do
  if the newest signature is not genuine:
    would write zeros over …
    would sign seq 399 again into fresh cells at …
…
  released     up to seq 398
…
  records      121 read back, 0 signatures verify
…
verdict: nothing to do, but not every signature could be verified
[3]
$ tallystick fsck old --key ${did}
journal of 8 sectors of 4096 bytes, plain NOR
key ${did}, from --key
…
  records      121 read back, 121 signatures verify
…
verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck old --key ${toHex(deviceKey("attic").publicKey)}
…
verdict: clean: the next start has nothing to do
[0]
$ tallystick fsck old --key ${another.did}
tallystick fsck: old: JOURNAL_FOREIGN: the journal was written with another device's key (…); check that flash and key store belong to one device; …
[2]
$ tallystick fsck old --key nonsense
error: --key: expected a did:key or 64 hexadecimal digits of an Ed25519 key, got nonsense
(--help lists what it takes)
[2]
`,
      folder,
    ));

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
$ tallystick fsck damaged-header
…
  records      50 read back, 50 signatures verify
…
damaged:
  sector 1: damaged header: its CRC does not hold; its frames are read all the same, and the next round of the ring writes it anew

verdict: damaged
[1]
`,
      folder,
    ));

  it("exits with 2, and one line, where there is no journal that it can read", () =>
    play(
      `
$ tallystick fsck cut
tallystick fsck: cut: FILE_UNREADABLE: the file cannot be read (expected 32768 bytes, received 8292; read the whole partition); …
[2]
$ tallystick fsck larger
tallystick fsck: larger: JOURNAL_GEOMETRY: the partition is of another size or shape than the journal's (the journal was made for 8 sectors of 4096 bytes in units of 1, this partition has 16 sectors); …
[2]
$ tallystick fsck newer
tallystick fsck: newer: JOURNAL_NEWER: the journal is of a newer format (the header at 0x0 is of format 2; this reads 1); …
[2]
$ tallystick fsck blank
tallystick fsck: blank: JOURNAL_BLANK: …
[2]
$ tallystick fsck random
tallystick fsck: random: JOURNAL_UNREADABLE: the partition holds no journal that can be read (none of 8 sectors has a sound header; of an encrypted partition, dump what the device reads, or decrypt the dump); keep an image of it; …
[2]
$ tallystick fsck few
tallystick fsck: few: JOURNAL_GEOMETRY: …
[2]
$ tallystick fsck nothing
tallystick fsck: nothing: JOURNAL_GEOMETRY: …
[2]
$ tallystick fsck absent
tallystick fsck: absent: FILE_UNREADABLE: …
[2]
`,
      folder,
    ));

  it("prints one JSON document, also of a failure, and leaves the file as it is", () => {
    const file = join(folder, "torn-signature");
    const before = readFileSync(file);
    chmodSync(file, 0o444);
    const json = (...args: string[]) =>
      JSON.parse(
        spawnSync(process.execPath, [TALLYSTICK, "fsck", "--json", ...args], { cwd: folder, encoding: "utf8" }).stdout,
      );
    const document = json("torn-signature");
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

    const refused = json("newer");
    assert.equal(refused.verdict, "unreadable");
    assert.equal(refused.failure.code, "JOURNAL_NEWER");
  });

  it("ends on whatever becomes of an image, and knows each step that it tells", () => {
    const random = new SeededRandom(3);
    const images = ([1, 32] as const).flatMap((writeUnitBytes) => {
      const young = new JournalDevice({ writeUnitBytes });
      young.cutCommit(young.write(30), "signature", 60);
      const old = new JournalDevice({ writeUnitBytes });
      old.write(200, { release: true });
      return [young.image(), old.image()];
    });
    const sectorAt = () => random.below(8) * SECTOR_BYTES;
    for (let run = 0; run < 200; run++) {
      const image = random.pick(images).slice();
      const [from, to] = [sectorAt(), sectorAt()];
      const what = random.below(4);
      if (what === 0) image[random.below(image.length)]! ^= 1 << random.below(8);
      else if (what === 1) image.fill(random.pick([0, 0xff, 0xa5]), to + random.below(SECTOR_BYTES), to + SECTOR_BYTES);
      else if (what === 2) image.set(random.pick(images).subarray(from, from + SECTOR_BYTES), to);
      else for (let n = 0; n < 40; n++) image[to + random.below(700)]! &= random.below(256);
      const said = examine(image, []);
      if (!said.ok) continue;
      for (const step of [...said.value.steps, ...said.value.later])
        assert.ok(step.kind !== "other" && !("seq" in step && step.seq < 0), `run ${run}: ${JSON.stringify(step)}`);
    }
  });

  for (const writeUnitBytes of [1, 16, 32] as const)
    it(`says what the device then does, after cuts anywhere, write units of ${writeUnitBytes}`, () => {
      const random = new SeededRandom(writeUnitBytes);
      const device = new JournalDevice({ writeUnitBytes });
      const key = { kid: device.key.signer.kid, publicKey: device.key.publicKey, source: "--key" } as const;
      let recovered = 0;
      for (let start = 0; start < 100; start++) {
        device.flash.cutAt({ operation: 1 + random.below(16), ...settledTears(random) });
        try {
          device.write(1 + random.below(6), { release: !random.oneIn(3) });
        } catch (error) {
          if (!(error instanceof PowerCut)) throw error;
        } finally {
          device.flash.cutAt(undefined);
        }
        const said = examine(device.image(), [key]);
        assert.ok(said.ok, said.ok ? "" : said.failure.detail);
        device.flash.resetCounters();
        const operations: Operation[] = [];
        const { head, report } = device.mount(watched(device.flash, operations));
        // An encrypted unit that a cut has touched looks like an erased one in a dump, and the command says so.
        if (device.flash.counters.refusals > 0) continue;
        const geometry = geometryOf(device.flash);
        assert.ok(geometry.ok);
        const where = `start ${start}, write units of ${writeUnitBytes}`;
        assert.deepEqual(said.value.steps, stepsOf(operations, geometry.value), where);
        assert.equal(said.value.tail, report.tail, where);
        assert.equal(said.value.head?.seq, head?.seq, where);
        if (said.value.head?.id) assert.equal(toHex(said.value.head.id), toHex(head!.id), where);
        assert.deepEqual(said.value.damage, [], where);
        if (operations.length > 0) recovered++;
      }
      assert.ok(recovered > 20, `${recovered} recoveries`);
    });
});

/** Tears that leave no cell unstable: an image is one reading, and a start reads anew. */
function settledTears(random: SeededRandom): { readonly program: Tear; readonly erase: Tear } {
  const share = random.below(64) / 64;
  return {
    program: random.pick<Tear>([
      { kind: "before" },
      { kind: "prefix", bits: random.below(400), edge: false },
      { kind: "suffix", bits: random.below(400), edge: false },
      { kind: "subset", share, seed: random.next() },
      { kind: "after" },
    ]),
    erase: random.pick<Tear>([
      { kind: "before" },
      { kind: "zeros", share },
      { kind: "nearly", cells: 3, seed: random.next() },
      { kind: "after" },
    ]),
  };
}

/** The device's flash, with a list of what is done to it. */
function watched(flash: Flash, operations: Operation[]): Flash {
  return {
    sizeBytes: flash.sizeBytes,
    sectorBytes: flash.sectorBytes,
    writeUnitBytes: flash.writeUnitBytes,
    read: (offset, into) => flash.read(offset, into),
    write: (offset, bytes) => {
      operations.push({ kind: "program", offset, bytes: bytes.slice() });
      flash.write(offset, bytes);
    },
    erase: (sector) => {
      operations.push({ kind: "erase", sector });
      flash.erase(sector);
    },
  };
}
