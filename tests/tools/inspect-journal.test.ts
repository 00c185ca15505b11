import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { portableCrypto } from "tallystick/identity/portable";
import { crc32c } from "tallystick/journal/crc32c";
import { FrameType, linkOf } from "tallystick/journal/frame";
import { SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import { Ring } from "tallystick/journal/ring";
import { type Candidate, recordAt, type SectorScan } from "tallystick/journal/scan";
import { TailReader } from "tallystick/journal/tail";
import { recordId } from "tallystick/record/record";
import { PowerCut } from "../../hosts/simulator/board.js";
import { SeededRandom } from "../../hosts/simulator/world/random.js";
import { eraseTear, programTear } from "../../hosts/simulator/world/tear.js";
import { inspect, inspectFile } from "../../tools/inspect/inspect.js";
import { findGeometry, readSectors } from "../../tools/inspect/journal-image.js";
import { type Piece, scanSigned, walkSector } from "../../tools/inspect/walk.js";
import { CARRYING, FILLING_RECORDS, JournalDevice, SECTOR_BYTES, torn, VERDICT } from "./journal-images.js";
import { inThisProcess, play, TALLYSTICK } from "./session.js";

/** The header of slot 1 with another version, and a CRC that fits. */
function newerImage(): Uint8Array {
  const image = new JournalDevice().image();
  for (let at = 0; at < image.length; at += SECTOR_BYTES) {
    image[at + 2] = 2;
    new DataView(image.buffer).setUint32(at + 28, crc32c(image, at, at + 28));
  }
  return image;
}

describe("tallystick inspect, of a journal", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-inspect-journal-"));
  const write = (name: string, content: Uint8Array) => writeFileSync(join(folder, name), content);
  after(() => rmSync(folder, { recursive: true, force: true }));

  const here = inThisProcess((file) => inspectFile(file!));

  before(() => {
    const clean = new JournalDevice();
    clean.write(3);
    write("clean", clean.image());

    const body = new JournalDevice();
    body.cutCommit(body.write(3), "body", 100);
    write("torn-body", body.image());
    body.cutMount(torn(VERDICT.second, 10));
    write("torn-verdict", body.image());
    body.write(1);
    write("voided", body.image());
    // The header of seq 2, which the verdict behind it names.
    const gone = body.image();
    gone[0x214]! ^= 1;
    write("gone", gone);

    const encrypted = new JournalDevice({ writeUnitBytes: 32 });
    encrypted.cutCommit(encrypted.write(3), "signature", 100);
    encrypted.write(1);
    write("encrypted", encrypted.image());

    const carried = new JournalDevice();
    carried.cutCommit(carried.write(FILLING_RECORDS[1] - 1), "signature", 60);
    carried.cutMount(torn(CARRYING.position, 10));
    write("carrying", carried.image());
    carried.cutMount(torn(CARRYING.signature, 20));
    write("carried", carried.image());
    carried.write(1);
    write("named", carried.image());

    const long = new JournalDevice();
    long.write(50);
    const image = long.image();
    write("long", image);
    write("cut", image.subarray(0, 2 * SECTOR_BYTES + 100));
    const changed = image.slice();
    changed[0x14c + 100]! ^= 1;
    write("damaged-body", changed);
    image[SECTOR_BYTES + 12]! ^= 1;
    write("damaged-header", image);
    image[2 * SECTOR_BYTES + 12]! ^= 1;
    write("damaged-headers", image);
    image.set(new JournalDevice({ sectors: 16 }).image().subarray(0, SECTOR_BYTES), 7 * SECTOR_BYTES);
    write("mixed", image);

    write("random", new SeededRandom(1).bytes(8 * SECTOR_BYTES));
  });

  it("prints each frame with its fields, and what stands", () =>
    play(
      `
$ tallystick inspect clean
journal of 8 sectors of 4096 bytes, plain NOR
1 opened, 7 formatted and not yet opened

sector 0 (image 0x0000): ordinal 8, chain from 8, first seq 0, tail before 0000000000000000
  0020 position, 32 bytes, link 00000000 passes, CRC … holds; nothing released
  0040 record, 268 bytes, body 190, signature at 0x010c, link 00000000 passes, CRC … holds
       seq 0 genesis, id …; stands: named by the frame at 0x014c
  014c record, 200 bytes, body 122, signature at 0x01d4, link … follows, CRC … holds
       seq 1 readings, id …; stands: named by the frame at 0x0214
  0214 record, 200 bytes, body 122, signature at 0x029c, link … follows, CRC … holds
       seq 2 readings, id …; open: nothing in this sector names it: the next mount decides, and tallystick fsck says how
  02dc 3364 bytes erased
[0]
`,
      folder,
      here,
    ));

  it("says what is void, and why", () =>
    play(
      `
$ tallystick inspect torn-body
…
  02dc record, 200 bytes, body 122, signature at 0x0364, link … follows, CRC … does not hold; would be seq 3; open: torn body, and nothing behind it decides yet: …
  03a4 3164 bytes erased
[0]
$ tallystick inspect torn-verdict
…
  02dc record, 200 bytes, body 122, signature at 0x0364, link … follows, CRC … does not hold; void: torn body, void by the verdict at 0x03b0
  03a4 spent slot, 12 bytes of zeros
  03b0 void, 12 bytes, link … passes, CRC … holds; verdict: what stands between the linked record and here is void; nothing right behind proves that it was driven to the end
  03bc 4 bytes without a legible header: torn header, or what an erase that was cut has left
  03c0 3136 bytes erased
  void: 216 bytes
    02dc 200 bytes: torn body, void by the verdict at 0x03b0
    03a4 12 bytes: spent slot: …
    03bc 4 bytes: no legible header: …
[0]
$ tallystick inspect voided
…
  03b0 void, …; verdict: what stands between the linked record and here is void; nothing right behind proves that it was driven to the end
  03bc 4 bytes without a legible header: torn header, or what an erase that was cut has left
…
sector 1 (image 0x1000): ordinal 9, chain from 8, first seq 3, tail before …
  0020 position, …
  0040 void, …
  004c void, …; proves the verdict at 0x0040
  0058 record, …
       seq 3 readings, …
…
[0]
$ tallystick inspect encrypted
journal of 8 sectors of 4096 bytes, write units of 32 bytes
…
  0320 record, 224 bytes, body 122, signature at 0x03c0, …
       seq 3 readings, id …; void: superseded by the try at 0x0420
  0400 spent slot, 32 bytes of zeros
  0420 record, 224 bytes, …
       seq 3 readings, id …; stands: named by the frame at 0x0500
…
  … bytes without a legible header: not written, or a torn header: encrypted units do not tell
…
[0]
`,
      folder,
      here,
    ));

  it("shows by what a recovered record stands, and which sector carries it", () =>
    play(
      `
$ tallystick inspect carrying
…
       seq 18 readings, id …; open: nothing in this sector names it: the next mount decides, and tallystick fsck says how
  0f5c 164 bytes erased

sector 1 (image 0x1000): ordinal 9, chain from 8, carries seq 18, tail before …
  not open: no position frame says that the record which it was to carry is whole, and nothing stands behind that: its opening was cut
  0020 32 bytes without a legible header: torn header, or what an erase that was cut has left
  0040 record, 200 bytes, body 122, …
       seq 18 readings, id …; open: …
…
[0]
$ tallystick inspect carried
…
       seq 18 readings, id …; void: superseded: the sector of ordinal 9 carries this record
  0f5c 164 bytes erased
…
sector 1 (image 0x1000): ordinal 9, chain from 8, carries seq 18, tail before …
  0020 position, 32 bytes, link … carries, CRC … holds; nothing released; the opening's last frame: the record at 0x0040 is whole
  0040 record, 200 bytes, …
       seq 18 readings, id …; stands: the frame at 0x0020 says that it is whole; this is its id if its cells hold the signature that its key makes
  0108 3832 bytes erased
[0]
$ tallystick inspect named
…
  0040 record, 200 bytes, …
       seq 18 readings, id …; presumed: named by the frame at 0x0114, with another signature than its cells hold: its key makes that again, and tells
  0108 spent slot, 12 bytes of zeros
  0114 void, 12 bytes, link … follows, CRC … holds; names the record at 0x0040, and voids what is behind it
  0120 void, 12 bytes, link … passes, CRC … holds; proves the verdict at 0x0114
  012c record, 200 bytes, body 122, signature at 0x01b4, link … passes, CRC … holds
       seq 19 readings, id …; open: …
…
[0]
`,
      folder,
      here,
    ));

  it("reads on where a header is damaged, and tells what does not belong here", () =>
    play(
      `
$ tallystick inspect long
journal of 8 sectors of 4096 bytes, plain NOR
3 opened, 5 formatted and not yet opened
…
       seq 18 readings, id …; stands: the header of sector ordinal 9 names it
…
[0]
$ tallystick inspect damaged-header
journal of 8 sectors of 4096 bytes, plain NOR
3 opened, 5 formatted and not yet opened
…
sector 1 (image 0x1000): damaged header: its CRC does not hold; its frames are those of ordinal 9
…
       seq 20 readings, id …
…
[0]
$ tallystick inspect damaged-headers
…
sector 1 (image 0x1000): damaged header: its CRC does not hold; its frames are those of ordinal 9
…
sector 2 (image 0x2000): damaged header: its CRC does not hold; its frames are those of ordinal 10
…
[0]
$ tallystick inspect damaged-body
…
  014c record, 200 bytes, …, CRC … does not hold; would be seq 1; open: torn body that was whole once: what stands behind it names neither it nor the record before
  0214 record, 200 bytes, …, link … neither, CRC … holds
       seq 2 readings, id …; stands: named by the frame at 0x02dc; something before it is damaged, for its own link is to nothing here
…
[0]
$ tallystick inspect gone
…
  014c record, 200 bytes, …
       seq 1 readings, id …; open: nothing in this sector names it, and of seq 2 nothing can be read
  0214 400 bytes without a legible header: a record, and the header of its frame has changed since it was written
  03a4 spent slot, 12 bytes of zeros
  03b0 void, 12 bytes, …; ignored: links to a record of which nothing can be read here
…
[0]
$ tallystick inspect mixed
…
sector 7 (image 0x7000): header of another partition: 16 sectors of 4096 bytes in units of 1
…
[0]
$ tallystick inspect cut
…
tallystick inspect: cut: FILE_UNREADABLE: the file cannot be read (expected 32768 bytes, received 8292; read the whole partition); …
[2]
`,
      folder,
      here,
    ));

  it("says of another format that it is newer, and of noise that it is no journal", () => {
    assert.match(
      inspect(newerImage()).failure ?? "",
      /^JOURNAL_NEWER: .*the header at 0x0 is of format 2; this reads 1/,
    );
    const noise = new SeededRandom(1).bytes(8 * SECTOR_BYTES);
    assert.match(
      inspect(noise).failure ?? "",
      /^expected a record or a statement \(d2 84 …\), the proof of a fork, a journal image or an evidence file/,
    );
  });

  it("prints the bytes of each field beside it", () =>
    play(
      `
$ tallystick inspect --hex clean
…
sector 0 (image 0x0000): ordinal 8, …
      0000  54 6a                                            magic
      0002  01 40                                            ver, shape
      0004  00 08                                            N sectors
      0006  00 00 00 00 00 00                                first seq
      000c  00 00 00 08                                      ordinal
      0010  00 00 00 08                                      chain ordinal
      0014  00 00 00 00 00 00 00 00                          tail id
      001c  …                                      CRC of 0–27
  0020 position, …
      0020  40 14                                            word: type, body length
      0022  bf eb                                            ~word
      0024  00 00 00 00                                      link
      0028  …                                      CRC
…
      004c  d2 84 …  body
…
      010a  ff ff                                            padding
      010c  …  signature
…
[0]
`,
      folder,
    ));

  it("prints one JSON document, and refuses to where it is no journal", () => {
    const command = [TALLYSTICK, "inspect", "--json", "torn-verdict"];
    const document = JSON.parse(spawnSync(process.execPath, command, { cwd: folder, encoding: "utf8" }).stdout);
    assert.equal(document.kind, "journal");
    const [sector] = document.opened;
    assert.deepEqual(
      sector.pieces.map(({ offset, kind, verdict }: Record<string, unknown>) => [offset, kind, verdict]),
      [
        [0x20, "position", "heeded"],
        [0x40, "record", "stands"],
        [0x14c, "record", "stands"],
        [0x214, "record", "stands"],
        [0x2dc, "record", "void"],
        [0x3a4, "spent", undefined],
        [0x3b0, "void", "heeded"],
        [0x3bc, "illegible", undefined],
        [0x3c0, "erased", undefined],
      ],
    );
    assert.equal(sector.void_bytes, 216);
    assert.equal(sector.pieces[4].crc_holds, false);
    const hereInJson = inThisProcess((name) => inspectFile(name!, { json: true }));
    const cut = hereInJson("inspect cut", folder);
    assert.equal(cut.left, 2);
    const [described, said] = cut.received.split(/^(?=tallystick inspect: )/m);
    assert.match(JSON.parse(described!).failure, /^FILE_UNREADABLE/);
    assert.match(said!, /FILE_UNREADABLE/);
    assert.equal(hereInJson("inspect random", folder).left, 2);
  });

  for (const unit of [1, 16, 32] as const)
    it(`leaves no byte out and contradicts the journal's own reading nowhere, write units of ${unit}`, () => {
      const random = new SeededRandom(unit);
      const device = new JournalDevice({ writeUnitBytes: unit });
      let [presumed, compared, untold] = [0, 0, 0];
      for (let start = 0; start < 60; start++) {
        device.flash.cutAt({
          operation: 1 + random.below(random.oneIn(2) ? 14 : 7),
          program: programTear(random),
          erase: eraseTear(random),
        });
        try {
          device.write(1 + random.below(6), { release: true });
        } catch (error) {
          if (!(error instanceof PowerCut)) throw error;
        }
        const image = device.image();
        const geometry = findGeometry(image);
        assert.ok(geometry?.ok);
        // Every other time with some bits over: what stands behind damage is told as well.
        for (let flips = (start % 2) * 4; flips > 0; flips--)
          image[random.below(image.length)]! ^= 1 << random.below(8);
        for (const { ordinal, header, bytes, slot } of readSectors(image, geometry.value)) {
          if (ordinal === undefined || ordinal < 8) continue;
          const view = { geometry: geometry.value, sha256: portableCrypto.sha256, ordinal, header, bytes };
          const { pieces, scan } = walkSector(view);
          const where = `start ${start}, sector ${slot}`;
          let end = SECTOR_HEADER_BYTES;
          for (const piece of pieces) {
            assert.equal(piece.offset, end, where);
            end += piece.bytes;
          }
          assert.equal(end, SECTOR_BYTES, where);
          const legible = pieces.filter(({ kind }) => kind === "frame" || kind === "spent").at(-1);
          assert.equal(legible ? legible.offset + legible.bytes : SECTOR_HEADER_BYTES, scan.end, where);
          // What the walk presumes without a key is what the device finds with its own. Where the frame behind a damaged
          // signature is torn as well, or there is none behind a carried record, the device finds more.
          const signers = new TailReader(new Ring(device.flash, geometry.value), portableCrypto.sha256, [
            device.key.signer,
          ]);
          const told = new Map<number, boolean>();
          let isTold = true;
          const byDevice = scanSigned(
            view,
            ({ offset, bodyBytes, id }) => {
              const stored = recordAt(geometry.value, bytes, offset, bodyBytes);
              const record = signers.signAgain(stored);
              const signed = record && recordId(portableCrypto.sha256, record);
              const piece = pieces.find((one) => one.offset === offset);
              if (signed && toHex(signed) !== toHex(id!))
                isTold &&= piece?.kind === "frame" && piece.presumed !== undefined;
              return signed && { id: signed, held: equalBytes(record, stored) };
            },
            (record, named) => {
              told.set(record.offset, named);
              return false;
            },
          );
          if (isTold) {
            assert.deepEqual(outlineOf(scan), outlineOf(byDevice), where);
            compared++;
          } else untold++;
          for (const piece of pieces) {
            if (piece.kind !== "frame" || piece.header.type !== FrameType.record) continue;
            const named = told.get(piece.offset);
            const verdicts = named === undefined ? ["void"] : named ? ["stands", "presumed"] : ["open"];
            if (isTold || ["stands", "presumed"].includes(piece.verdict))
              assert.ok(verdicts.includes(piece.verdict), `${where}, ${piece.offset}: ${piece.verdict}`);
            if (piece.verdict === "presumed") presumed++;
          }
          const word = pieces.findLast(
            (piece) => piece.kind === "frame" && piece.verdict === "heeded" && isVoid(piece),
          );
          // A carried record that only the opening's last frame names is the last word itself.
          const said = word?.kind === "frame" ? word.header.link : linkOf(scan.settled?.id);
          if (scan.verdict !== undefined) assert.equal(said, scan.verdict, where);
        }
        const { lines } = inspect(image);
        assert.ok(!lines.some((line) => line.includes("undefined")), lines.join("\n"));
      }
      assert.ok(
        presumed > 0 && compared > 4 * untold,
        `${presumed} presumed, ${untold} sectors of ${compared} not told`,
      );
    });
});

function isVoid(piece: Piece): boolean {
  return piece.kind === "frame" && piece.header.type === FrameType.void;
}

/** All that a scan tells, but for ids: those that are presumed have only their first bytes. */
function outlineOf(scan: SectorScan) {
  const { settled, tail, tries, decided, unproved, verdict, opened, voidBytes, released, end } = scan;
  const outline = ({ offset, whole, seq, link, afterDamage, changed }: Candidate) => ({
    ...{ offset, whole, seq, link, afterDamage, changed },
  });
  return {
    settled: settled && outline(settled),
    tail: tail && outline(tail),
    tries: tries.map(outline),
    ...{ decided, unproved, verdict, opened, voidBytes, released, end },
  };
}
