import type { Mutation } from "./bundle.js";

/**
 * The journal's defences, each with the change that switches it off, and the class of cases that finds it gone. Whoever
 * adds a defence adds it here; whoever finds that one can go without any case failing has found code to delete. DESIGN.md
 * names those for which no case is known yet.
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
    from: "let appended = appender.append(FrameType.record, link, body, left, start);",
    to: "sign(); let appended = appender.append(FrameType.record, link, body, left, start);",
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
    to: "const written = erases ? appender.reopen() : ok(true);",
  },
  {
    without: "the second of a verdict's two frames",
    classes: ["recoveries", "frames"],
    file: APPEND,
    from: "for (let n = 0; n < 2; n++) {",
    to: "for (let n = 0; n < 1; n++) {",
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
    from: "if (!linked && tail?.whole && (whole || isBegun(geometry, bytes, offset, frame)) && !signed?.has(tail.offset)) {",
    to: "if (!linked && tail?.whole && (whole || isBegun(geometry, bytes, offset, frame)) && signed === null) {",
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
    from: "if (tails.hasFrames(header.ordinal + ahead))",
    to: "if (tails.hasFrames(header.ordinal + ahead) && ahead > FIRST_OPENINGS_MAX)",
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
  {
    without: "carrying the newest record forward",
    classes: ["storms", "loops"],
    file: APPEND,
    from: "if (start === undefined && tail !== undefined && tail.ordinal < next.value - 1)",
    to: "if (start === undefined && tail !== undefined && tail.ordinal < 0)",
  },
  {
    without: "erasing a sector again that holds nothing",
    classes: ["pairs", "loops", "storms"],
    file: APPEND,
    from: "if (this.#disposable) return ok(this.head);",
    to: "",
  },
  {
    without: "erasing such a sector in place of a verdict",
    classes: ["pairs", "loops", "storms"],
    file: JOURNAL,
    from: "const erases = open.length > 0 &&",
    to: "const erases = open.length < 0 &&",
  },
  {
    without: "saying a verdict again where the sector before says it too",
    classes: ["storms", "loops"],
    file: RECOVERY,
    from: "return before.opened && before.verdict === linkOf(header.tailId) &&",
    to: "return before.opened && before.verdict === null &&",
  },
  {
    without: "keeping a verdict that is proved until another is",
    classes: ["runs", "storms"],
    file: RECOVERY,
    from: "&& (!scan.proved || !before.unproved);",
    to: ";",
  },
  {
    without: "making a release durable where the reserve was used up",
    classes: ["storms", "silence"],
    file: APPEND,
    from: "this.#isFree(this.#last + 2, this.durable)) return;\n    this.#keepRelease();",
    to: "this.#isFree(this.#last + 2, this.durable)) return;",
  },
  {
    without: "sectors in reserve",
    classes: ["silence", "storms"],
    file: APPEND,
    from: "return this.spare >= RESERVED_SECTORS + opens;",
    to: "return this.spare >= opens;",
  },
  {
    without: "sectors left free where a cut makes a record open one",
    classes: ["storms", "silence"],
    file: APPEND,
    from: "const next = this.#next(left);",
    to: "const next = this.#next(left - left);",
  },
  {
    without: "looking for another try of the newest record",
    classes: ["storms", "recoveries"],
    file: TAIL,
    from: "for (let back = 0; bytes === undefined && back <= TRIES_SECTORS_MAX && back <= ordinal; back++)",
    to: "for (let back = 0; bytes === null; back++)",
  },
  {
    without: "saying twice what is released",
    classes: ["storms"],
    file: SCAN,
    from: "else walk.said = { end: offset + size, released };",
    to: "else scan.released = released;",
  },
  {
    without: "a carried record deciding about what sectors before left open",
    classes: ["storms", "recoveries"],
    file: SCAN,
    from: "      scan.decided = true;\n      pass(walk, scan, true, visit);",
    to: "      pass(walk, scan, true, visit);",
  },
  {
    without: "the newest position frame of a whole sector",
    classes: ["storms"],
    file: RECOVERY,
    from: "if (released !== undefined) return released;",
    to: "if (released !== undefined) break;",
  },
  {
    without: "a frame's header before its body",
    classes: ["pairs", "runs"],
    file: APPEND,
    from: "if (!this.#ring.program(this.#ring.at(this.head) + offset, bytes, geometry.slotBytes)) {",
    to: "if (!this.#ring.program(this.#ring.at(this.head) + offset, bytes)) {",
  },
  {
    without: "a slot that a start spends before it appends",
    classes: ["storms", "runs"],
    file: APPEND,
    from: "if (this.#fresh) return true;",
    to: "this.#fresh = true;\n    if (this.#fresh) return true;",
  },
  {
    without: "saying again what nothing proves",
    classes: ["recoveries", "storms", "runs"],
    file: RECOVERY,
    from: "...(scan?.unproved && {",
    to: "...(scan?.unproved === null && {",
  },
  {
    without: "taking a torn body with a signature for a changed one",
    classes: ["flips"],
    file: TAIL,
    from: "const signed = geometry.unitBytes === 1 && left.some",
    to: "const signed = geometry.unitBytes === 0 && left.some",
  },
  {
    without: "taking a torn body for a changed one where a frame behind it names neither",
    classes: ["flips"],
    file: TAIL,
    from: "if (signed || candidate.changed)",
    to: "if (signed)",
  },
  {
    without: "closing a sector with programmed bits behind its end",
    classes: ["storms", "runs"],
    file: RECOVERY,
    from: "usable: last === newest && scan !== undefined && !written,",
    to: "usable: last === newest && scan !== undefined,",
  },
  {
    without: "seeing that a void or position names what cannot be read",
    classes: ["flips"],
    file: RECOVERY,
    from: "else if (scan?.missing) damage",
    to: "else if (scan?.missing === null) damage",
  },
  {
    without: "seeing that also where a whole record stands in front",
    classes: ["flips"],
    file: SCAN,
    from: "const known = tail === undefined ? walk.link !== undefined : signed?.get(tail.offset) !== undefined;",
    to: "const known = tail === undefined && walk.link !== undefined;",
  },
  {
    without: "seeing that a record stands behind a header that cannot be read",
    classes: ["flips"],
    file: RECOVERY,
    from: "else if (written && before.ok && isHidden(",
    to: "else if (scan === null && before.ok && isHidden(",
  },
  {
    without: "seeing that also where the record is the first of its sector",
    classes: ["flips"],
    file: SCAN,
    from: "if (!scan.opened && header?.carries === false && geometry.unitBytes === 1)",
    to: "if (!scan.opened && header?.carries === null && geometry.unitBytes === 1)",
  },
  {
    without: "taking a header for cut behind which nothing is programmed",
    classes: ["recoveries"],
    file: SCAN,
    from: "(unitBytes !== 1 || !isErased(bytes, body, body + bodyBytes));",
    to: "(unitBytes !== 1 || isErased !== undefined || body + bodyBytes > 0);",
  },
  {
    without: "proving that a carried record is named",
    classes: ["recoveries", "storms"],
    file: SCAN,
    from: "scan.unproved = isOnlyCarried(view, RECORDS_OFFSET);",
    to: "",
  },
  {
    without: "proving a verdict anew that is all that names a carried record",
    classes: ["recoveries"],
    file: SCAN,
    from: "scan.unproved = walk.voidEnd !== offset && (!follows || isOnlyCarried(view, tail!.offset));",
    to: "scan.unproved = walk.voidEnd !== offset && !follows;",
  },
  {
    without: "opening nothing below a header that may count again",
    classes: ["recoveries"],
    file: RECOVERY,
    from: "    last,\n",
    to: "    last: newest,\n",
  },
];
