import type { Mutation } from "./bundle.js";

/**
 * The journal's defences, each with the change that switches it off, and the class of cases that finds it gone. Whoever
 * adds a defence adds it here; whoever finds that one can go without any case failing has found code to delete. DESIGN.md names those for which no
 * case is known yet.
 */
export interface Defence extends Mutation {
  /** What is given up. */
  readonly without: string;
  readonly classes: readonly string[];
}

const APPEND = "modules/journal/append.ts";
const FRAME = "modules/journal/frame.ts";
const JOURNAL = "modules/journal/journal.ts";
const MOUNT = "modules/journal/mount.ts";
const READER = "modules/journal/reader.ts";
const RECOVERY = "modules/journal/recovery.ts";
const RING = "modules/journal/ring.ts";
const SCAN = "modules/journal/scan.ts";
const SECTOR = "modules/journal/sector.ts";
const TAIL = "modules/journal/tail.ts";

export const DEFENCES: readonly Defence[] = [
  {
    without: "reading back what was programmed",
    classes: ["stuck", "worn"],
    file: RING,
    from: "if (!this.#holds(offset, bytes, from, to)) return false;",
    to: "",
  },
  {
    without: "taking a fault that the chip reports for one",
    classes: ["faults"],
    file: RING,
    from: `        if (!this.#holds(offset, bytes, from, to)) return false;
      }
      return true;
    } catch (error) {
      if (error instanceof FlashError) return false;`,
    to: `        if (!this.#holds(offset, bytes, from, to)) return false;
      }
      return true;
    } catch (error) {
      if (error instanceof FlashError) return true;`,
  },
  {
    without: "the CRC of a body",
    classes: ["frames", "bodies"],
    file: FRAME,
    from: "return frameCrc(place, bytes, at, header.bodyBytes) === header.crc;",
    to: "return frameCrc(place, bytes, at, header.bodyBytes) !== undefined && header !== undefined;",
  },
  {
    without: "the frame's place under its CRC",
    classes: ["headers", "erases"],
    file: FRAME,
    from: "const start = crc32c(bytes, at, at + 8, crc32c(where));",
    to: "const start = crc32c(bytes, at, at + 8);",
  },
  {
    without: "the complement of a frame's first word",
    classes: ["recoveries", "frames"],
    file: FRAME,
    from: "if ((word ^ 0xffff) !== ((bytes[at + 2]! << 8) | bytes[at + 3]!)) return undefined;",
    to: "",
  },
  {
    without: "the CRC of a sector's header",
    classes: ["headers", "flips"],
    file: SECTOR,
    from: 'if (view.getUint32(28) !== crc32c(bytes, 0, 28)) return { kind: "none" };',
    to: "",
  },
  {
    without: "a body being durable before it is signed",
    classes: ["recoveries", "frames", "pairs", "runs"],
    file: JOURNAL,
    from: "const placed = appender.append(FrameType.record, link, body, start);",
    to: "sign(); const placed = appender.append(FrameType.record, link, body, start);",
  },
  {
    without: "fresh cells being durable before a body is signed again",
    classes: ["recoveries", "pairs", "runs"],
    file: APPEND,
    from: "    const { body, link } = record;\n    if",
    to: "    const { body, link } = record; record.sign();\n    if",
  },
  {
    without: "finishing a body that may have been signed",
    classes: ["frames", "bodies"],
    file: TAIL,
    from: 'return { kind: "unsigned", body: body.slice(), header: keep(parts.value.header) };',
    to: 'return { kind: "void" };',
  },
  {
    without: "fresh cells for such a body",
    classes: ["recoveries", "frames", "pairs", "runs"],
    file: TAIL,
    from: 'return { kind: "unsigned", body: body.slice(), header: keep(parts.value.header) };',
    to: `return { kind: "stands", tail: { ordinal, offset, bodyBytes, id: this.idSigned(record)!, link: candidate.link, header: keep(parts.value.header) } };`,
  },
  {
    without: "looking again whether a body is whole before it is judged",
    classes: ["recoveries"],
    file: TAIL,
    from: 'if (!this.#isWhole({ ordinal, offset, bodyBytes })) return { kind: "void" };',
    to: "",
  },
  {
    without: "a try that may have been signed outweighing a torn one",
    classes: ["recoveries", "pairs", "runs", "loops"],
    file: TAIL,
    from: "if (verdict === undefined || rank(judged) > rank(verdict)) verdict = judged;",
    to: "if (verdict === undefined) verdict = judged;",
  },
  {
    without: "a verdict that is written before it is told",
    classes: ["recoveries"],
    file: JOURNAL,
    from: "const written = erases ? appender.reopen() : appender.appendVerdict();",
    to: "const written = erases ? appender.reopen() : ok(undefined);",
  },
  {
    without: "the second of a verdict's two frames",
    classes: ["recoveries", "frames"],
    file: APPEND,
    from: "for (let n = 0; n < 2; n++) {",
    to: "for (let n = 0; n < 1; n++) {",
  },
  {
    without: "signing nothing to look at it where a later frame comes after the base",
    classes: ["recoveries"],
    file: SCAN,
    from: "if (walk.link === undefined || !isNamedLater(view, offset + geometry.alignBytes, walk.link)) {",
    to: "if (walk.link === undefined || view !== undefined) {",
  },
  {
    without: "an opening counting only once something stands behind it",
    classes: ["recoveries", "pairs", "runs"],
    file: RECOVERY,
    from: "if (tails.scan(open.ordinal, open.header).opened) return open;",
    to: "return open;",
  },
  {
    without: "a carrying sector's last frame for its opening",
    classes: ["recoveries", "pairs", "runs", "loops"],
    file: SCAN,
    from: "if (walk.carried !== undefined || offset > RECORDS_OFFSET || (offset === RECORDS_OFFSET && !header?.carries))",
    to: "if (offset >= RECORDS_OFFSET)",
  },
  {
    without: "a carried record being named by its sector's opening",
    classes: ["loops"],
    file: SCAN,
    from: "if (first && walk.carried === crcOf(bytes.subarray(RECORDS_OFFSET))) {",
    to: "if (first && walk.carried === crcOf(bytes.subarray(RECORDS_OFFSET)) && bytes.length === 0) {",
  },
  {
    without: "making a signature again to see what a frame names",
    classes: ["recoveries", "frames", "pairs", "runs"],
    file: SCAN,
    from: "if (!linked && tail?.whole && (whole || frame.type === FrameType.record) && !signed?.has(tail.offset)) {",
    to: "if (!linked && tail?.whole && (whole || frame.type === FrameType.record) && signed === null) {",
  },
  {
    without: "making a signature again to give a record out",
    classes: ["recoveries", "frames", "pairs", "runs"],
    file: READER,
    from: "return signed && equalBytes(recordId(this.#sha256, signed), id) ? signed : undefined;",
    to: "return undefined;",
  },
  {
    without: "making the signature of a sector's last record again",
    classes: ["recoveries", "frames", "pairs", "runs"],
    file: READER,
    from: "return equalBytes(id, next.tailId) ? signed : undefined;",
    to: "return undefined;",
  },
  {
    without: "signing only what the next sector follows, to look at it",
    classes: ["recoveries", "pairs", "runs"],
    file: READER,
    from: "if (next?.firstSeq !== parts.value.header.seq + 1) return undefined;",
    to: "if (next === undefined) return undefined;",
  },
  {
    without: "giving records out by their id alone",
    classes: ["flips", "two flips"],
    file: READER,
    from: "if (equalBytes(recordId(this.#sha256, record), id)) return record;",
    to: "if (id !== undefined) return record;",
  },
  {
    without: "erasing only what is released",
    classes: ["frames", "bodies", "erases"],
    file: APPEND,
    from: "return this.#ring.isCovered(former, released, this.head);",
    to: "return released !== undefined;",
  },
  {
    without: "looking for a sector behind the newest one whose header is damaged",
    classes: ["flips"],
    file: MOUNT,
    from: "if (hasFramesOf(ring, sha256, header.ordinal + ahead))",
    to: "if (hasFramesOf(ring, sha256, header.ordinal + ahead) && ahead > FIRST_OPENINGS_MAX)",
  },
  {
    without: "reading every header where one does not fit",
    classes: ["flips", "headers"],
    file: MOUNT,
    from: 'const found = bySearch(ring) ?? byReadingAll(ring);\n  if ("ok" in found) return found;\n  const { header',
    to: 'const found = bySearch(ring) ?? fail("JOURNAL_UNREADABLE", "");\n  if ("ok" in found) return found;\n  const { header',
  },
  {
    without: "signing what a sector carries only when its opening was finished",
    classes: ["recoveries", "pairs", "runs", "loops"],
    file: APPEND,
    from: "      const place = { ordinal, offset: RECORDS_OFFSET };\n      const frame",
    to: "      const place = { ordinal, offset: RECORDS_OFFSET }; sign();\n      const frame",
  },
  {
    without: "counting headers that cannot be read behind the newest one",
    classes: ["headers"],
    file: MOUNT,
    from: "return header?.ordinal === round + next - sectors ? gaps : undefined;",
    to: "return gaps;",
  },
];
