import {
  type FrameHeader,
  FrameType,
  frameBytes,
  isWhole,
  isWholeButForHeader,
  linkOf,
  readFrameHeader,
} from "tallystick/journal/frame";
import { RECORDS_OFFSET, SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import {
  type Candidate,
  idAt,
  isErased,
  type RecordVisitor,
  type SectorScan,
  type SectorView,
  type SignedAgain,
  scanSector,
} from "tallystick/journal/scan";

/**
 * Everything that stands in a sector behind its header, in its order, without a byte left out. `scanSector` decides which
 * records stand; this walk goes by the same rules (modules/journal/SPEC.md, "Reading a sector") to say of all the rest
 * what it is and why it does not.
 *
 * The device makes a record's signature again where a frame links to neither the record before it nor the one before
 * that. Without its key the link can only be believed: a whole frame right behind a record was written knowing it, so
 * there it names the record, under a signature that the cells do not hold. Such a record is `presumed`. What stands behind
 * a gap may as well name a record that was in it. A record that a sector carries stands by its body, whatever its cells
 * hold of a signature.
 */

export interface Frame {
  readonly kind: "frame";
  readonly offset: number;
  readonly bytes: number;
  readonly header: FrameHeader;
  /** Whether header and body are as they were written here. */
  readonly crcHolds: boolean;
  /**
   * Links to the record right before it that nothing named yet, to the newest named one, by its CRC to the record that the
   * sector carries, or to none of them.
   */
  readonly relation: "follows" | "passes" | "carries" | "neither";
  /** Of a whole record: of its bytes as they stand here. */
  readonly id: Uint8Array | undefined;
  /** The link that names a `presumed` record: the first 4 bytes of its id. */
  readonly presumed: number | undefined;
  /** Position by counting from the sector's header. */
  readonly seq: number | undefined;
  /** `open`: nothing in this sector decides. `heeded` and `ignored`: voids and positions. */
  readonly verdict: "stands" | "presumed" | "open" | "void" | "heeded" | "ignored";
  readonly why: string;
}

/** Bytes that are no frame: zeros that a start wrote over a slot, what no header can be read from, and ones. */
export interface Stretch {
  readonly kind: "spent" | "illegible" | "erased";
  readonly offset: number;
  readonly bytes: number;
  readonly why: string;
}

export type Piece = Frame | Stretch;

export interface SectorWalk {
  readonly pieces: readonly Piece[];
  /** As the device would read the sector if all that is presumed here is so. */
  readonly scan: SectorScan;
}

type Draft = { -readonly [K in keyof Frame]: Frame[K] };

export function walkSector(view: SectorView): SectorWalk {
  const told = new Map<number, { readonly record: Candidate; readonly named: boolean }>();
  const signed = new Map<number, SignedAgain | undefined>();
  const sign = (record: Candidate) => {
    const again = presumed(view, record);
    signed.set(record.offset, again);
    return again;
  };
  const scan = scanSigned(view, sign, (record, named) => {
    told.set(record.offset, { record, named });
    return false;
  });
  const pieces = new Walk({ ...view, signed }, scan).pieces;
  for (const piece of pieces) if (piece.kind === "frame") judge(piece, scan, told.get(piece.offset));
  return { pieces, scan };
}

/**
 * Walks a sector as the device does, which makes a record's signature again where its cells may not hold it: `sign` answers
 * with what it is then, or undefined where it cannot tell. `visit` may be told of the first records more than once.
 */
export function scanSigned(
  view: SectorView,
  sign: (record: Candidate) => SignedAgain | undefined,
  visit?: RecordVisitor,
): SectorScan {
  const signed = new Map<number, SignedAgain | undefined>();
  let scan = scanSector({ ...view, signed }, visit);
  while (scan.unresolved !== undefined) {
    signed.set(scan.unresolved.offset, sign(scan.unresolved));
    scan = scanSector({ ...view, signed }, visit);
  }
  return scan;
}

/** The record's id with the first bytes that the frame behind it says; undefined where it need not name the record. */
function presumed(view: SectorView, record: Candidate): SignedAgain | undefined {
  const { bytes, ordinal } = view;
  const at = behind(view, record);
  const frame = frameAt(view, at);
  // Another try at the same position links to what the record itself links to.
  if (frame === undefined || frame.link === record.link) return undefined;
  if (!isWhole({ ordinal, offset: at }, bytes, at, frame)) return undefined;
  const id = record.id!.slice();
  new DataView(id.buffer).setUint32(0, frame.link);
  return { id, held: false };
}

/** Offset behind a record, and behind the spent slots and torn tries to give it fresh cells that follow it. */
function behind(view: SectorView, { offset, bodyBytes, link }: Candidate): number {
  const { geometry, bytes, ordinal } = view;
  let at = offset + frameBytes(geometry, FrameType.record, bodyBytes);
  for (;;) {
    const frame = frameAt(view, at);
    if (frame?.type === FrameType.record && frame.link === link && !isWhole({ ordinal, offset: at }, bytes, at, frame))
      at += frameBytes(geometry, frame.type, frame.bodyBytes);
    else if (at + geometry.slotBytes <= bytes.length && isSpent(bytes, at, geometry.slotBytes))
      at += geometry.slotBytes;
    else return at;
  }
}

/** The header of a frame that the sector has room for. */
function frameAt({ geometry, bytes }: SectorView, offset: number): FrameHeader | undefined {
  if (offset + geometry.slotBytes > bytes.length) return undefined;
  const frame = readFrameHeader(bytes, offset);
  return frame && offset + frameBytes(geometry, frame.type, frame.bodyBytes) <= bytes.length ? frame : undefined;
}

function isSpent(bytes: Uint8Array, offset: number, length: number): boolean {
  return bytes.subarray(offset, offset + length).every((byte) => byte === 0);
}

const CHANGED = "torn body that was whole once: what stands behind it names neither it nor the record before";
/** Of a void or position frame that a device wrote here. */
const UNREADABLE = "links to a record of which nothing can be read here";

/** Where `scanSector` has told of a record, that counts. */
function judge(frame: Draft, scan: SectorScan, told: { record: Candidate; named: boolean } | undefined): void {
  if (frame.header.type !== FrameType.record || told === undefined) return;
  frame.seq = told.record.seq;
  const open = [scan.tail, ...scan.tries].some((candidate) => candidate?.offset === frame.offset);
  if (told.named) frame.verdict = frame.presumed === undefined ? "stands" : "presumed";
  else if (open) {
    frame.verdict = "open";
    frame.why = frame.crcHolds
      ? "nothing in this sector names it"
      : told.record.changed
        ? CHANGED
        : "torn body, and nothing behind it decides yet";
  } else {
    frame.verdict = "open";
    frame.why = frame.crcHolds ? "what stands behind it links to neither: only its signature can tell" : CHANGED;
  }
  if (told.record.afterDamage) frame.why += "; something before it is damaged, for its own link is to nothing here";
}

class Walk {
  readonly pieces: (Draft | Stretch)[] = [];
  readonly #view: SectorView;
  #base: number | undefined;
  #candidate: { readonly draft: Draft; readonly link: number | undefined } | undefined;
  #tries: Draft[] = [];
  /** The last void frame that names or voids something, and the verdict that nothing behind it has proved yet. */
  #void: { readonly end: number; readonly draft: Draft; readonly isVerdict: boolean } | undefined;
  /** The last position frame behind the opening. */
  #said: Draft | undefined;
  /** The link of a carrying sector's position frame: the CRC of the frame that it carries. */
  #carried: number | undefined;

  constructor(view: SectorView, scan: SectorScan) {
    this.#view = view;
    this.#base = view.header && linkOf(view.header.tailId);
    this.#walk();
    this.#nameCarried();
    if (scan.unproved && this.#void !== undefined)
      this.#void.draft.why += "; nothing right behind proves that it was driven to the end";
  }

  #walk(): void {
    const { geometry, bytes } = this.#view;
    let offset = SECTOR_HEADER_BYTES;
    while (offset < bytes.length) {
      const taken = this.#frame(offset);
      if (taken > 0) {
        offset += taken;
        continue;
      }
      const left = bytes.length - offset;
      if (left >= geometry.slotBytes && isSpent(bytes, offset, geometry.slotBytes)) {
        const why = "a start that was cut may have begun to write here: the next one wrote zeros over it";
        this.pieces.push({ kind: "spent", offset, bytes: geometry.slotBytes, why });
        offset += geometry.slotBytes;
      } else if (geometry.unitBytes === 1 && isErased(bytes, offset, bytes.length)) {
        this.pieces.push({ kind: "erased", offset, bytes: left, why: "" });
        return;
      } else {
        const step = Math.min(geometry.alignBytes, left);
        this.#illegible(offset, step);
        offset += step;
      }
    }
  }

  /** Whether the record that the sector carries is the one that its position frame's link tells of. */
  #carries(link: number): boolean {
    const { bytes, ordinal } = this.#view;
    const record = frameAt(this.#view, RECORDS_OFFSET);
    return record?.crc === link && isWhole({ ordinal, offset: RECORDS_OFFSET }, bytes, RECORDS_OFFSET, record);
  }

  /** The record that the opening's last frame says is whole, and nothing behind it that names it. */
  #nameCarried(): void {
    const { offset, crcHolds, header } = this.#candidate?.draft ?? {};
    if (offset !== RECORDS_OFFSET || !crcHolds || header?.crc !== this.#carried) return;
    const { draft } = this.#candidate!;
    this.#name(SECTOR_HEADER_BYTES);
    const id =
      draft.presumed === undefined
        ? "this is its id if its cells hold the signature that its key makes"
        : "what stands behind it names it, with another signature than its cells hold";
    draft.why = `the frame at ${hex(SECTOR_HEADER_BYTES)} says that it is whole; ${id}`;
  }

  #illegible(offset: number, bytes: number): void {
    const last = this.pieces.at(-1);
    if (last?.kind === "illegible") {
      this.pieces[this.pieces.length - 1] = { ...last, bytes: last.bytes + bytes };
      return;
    }
    this.pieces.push({ kind: "illegible", offset, bytes, why: this.#whyIllegible(offset) });
  }

  #whyIllegible(offset: number): string {
    const { geometry, ordinal, bytes } = this.#view;
    if (geometry.unitBytes > 1) return "not written, or a torn header: encrypted units do not tell";
    const link = this.#candidate?.link ?? this.#base;
    return link !== undefined && isWholeButForHeader({ ordinal, offset }, bytes, offset, link)
      ? "a record, and the header of its frame has changed since it was written"
      : "torn header, or what an erase that was cut has left";
  }

  /** Takes the frame at `offset`; answers with its length, 0 where there is none. */
  #frame(offset: number): number {
    const { geometry, sha256, ordinal, header: sector, bytes, signed } = this.#view;
    if (offset + geometry.slotBytes > bytes.length) return 0;
    const header = readFrameHeader(bytes, offset);
    if (header === undefined) return 0;
    const { type, link, bodyBytes } = header;
    const size = frameBytes(geometry, type, bodyBytes);
    if (offset + size > bytes.length) return 0;
    const crcHolds = isWhole({ ordinal, offset }, bytes, offset, header);
    const follows = this.#candidate?.link !== undefined && link === this.#candidate.link;
    const passes = this.#base !== undefined && link === this.#base;
    // Neither its CRC nor its link say that it is a frame of this sector. A torn void says nothing at all.
    if (!crcHolds && (type === FrameType.void || !(follows || passes))) return 0;
    const carries = type === FrameType.position && sector?.carries === true && offset === SECTOR_HEADER_BYTES;
    const again = signed?.get(offset);
    const draft: Draft = {
      kind: "frame",
      offset,
      bytes: size,
      header,
      crcHolds,
      relation: carries && crcHolds ? "carries" : follows ? "follows" : passes ? "passes" : "neither",
      id: type === FrameType.record && crcHolds ? idAt(sha256, geometry, bytes, offset, bodyBytes) : undefined,
      presumed: again && linkOf(again.id),
      seq: undefined,
      verdict: "void",
      why: "",
    };
    if (this.#said !== undefined && this.#said.offset + this.#said.bytes === offset) {
      this.#said.verdict = "heeded";
      this.#said.why = "";
    }
    if (type === FrameType.record) this.#record(draft);
    else if (type === FrameType.void) this.#voidFrame(draft);
    else this.#position(draft);
    this.pieces.push(draft);
    return size;
  }

  #record(draft: Draft): void {
    const { relation, crcHolds, offset } = draft;
    if (!crcHolds && relation === "passes" && this.#candidate !== undefined) {
      draft.why = "torn try to give the record before it fresh cells";
      return;
    }
    if (!crcHolds) draft.why = "torn body: it was never signed";
    const before = this.#candidate?.draft;
    if (relation === "follows") this.#name(offset);
    else if (relation === "passes" && before?.crcHolds) {
      before.why = `superseded by the try at ${hex(offset)}`;
      this.#tries.push(before);
    } else if (relation === "passes" && before !== undefined)
      before.why = `torn body, passed over by the frame at ${hex(offset)}`;
    else if (relation === "neither") {
      // Behind damage the record itself tells what it comes after.
      this.#base = draft.header.link;
      if (before !== undefined) this.#tries = [];
    }
    this.#candidate = { draft, link: draft.presumed ?? (draft.id && linkOf(draft.id)) };
  }

  #voidFrame(draft: Draft): void {
    const { relation, offset } = draft;
    if (relation === "neither") {
      draft.verdict = "ignored";
      draft.why = UNREADABLE;
      return;
    }
    draft.verdict = "heeded";
    let isVerdict = relation === "passes";
    if (relation === "follows") {
      const named = this.#candidate!.draft;
      isVerdict =
        this.#view.header?.carries === true && named.offset === RECORDS_OFFSET && named.presumed !== undefined;
      draft.why = `names the record at ${hex(named.offset)}, and voids what is behind it`;
      this.#name(offset);
    } else {
      const left = [...this.#tries, ...(this.#candidate ? [this.#candidate.draft] : [])];
      for (const open of left)
        open.why = `${open.crcHolds ? "whole, but void" : "torn body, void"} by the verdict at ${hex(offset)}`;
      this.#candidate = undefined;
      const verdict = this.#verdictBefore(offset);
      draft.why =
        verdict === undefined
          ? "verdict: what stands between the linked record and here is void"
          : `proves the verdict at ${hex(verdict.offset)}`;
    }
    this.#tries = [];
    this.#void = { end: offset + draft.bytes, draft, isVerdict };
  }

  #position(draft: Draft): void {
    const { relation, crcHolds, offset, header } = draft;
    const linked = relation !== "neither";
    draft.verdict = !crcHolds ? "void" : linked ? "heeded" : "ignored";
    draft.why = !crcHolds ? "torn position" : linked ? "" : UNREADABLE;
    if (crcHolds && linked && offset !== SECTOR_HEADER_BYTES) {
      draft.verdict = "ignored";
      draft.why = "nothing right behind proves that it was written to the end";
      this.#said = draft;
    }
    if (relation === "carries") {
      this.#carried = header.link;
      draft.why = `the opening's last frame: the record at ${hex(RECORDS_OFFSET)} ${this.#carries(header.link) ? "is" : "was"} whole`;
    }
    const verdict = crcHolds ? this.#verdictBefore(offset) : undefined;
    if (verdict !== undefined) draft.why = `proves the verdict at ${hex(verdict.offset)}`;
  }

  /** The verdict that ends right here. */
  #verdictBefore(offset: number): Draft | undefined {
    return this.#void?.end === offset && this.#void.isVerdict ? this.#void.draft : undefined;
  }

  /** The candidate is named by the frame at `offset`: its other tries were the same record. */
  #name(offset: number): void {
    const { draft, link } = this.#candidate!;
    draft.verdict = "stands";
    draft.why =
      draft.presumed === undefined
        ? `named by the frame at ${hex(offset)}`
        : `named by the frame at ${hex(offset)}, with another signature than its cells hold: its key makes that again, and tells`;
    this.#base = link;
    this.#candidate = undefined;
    this.#tries = [];
  }
}

/** An offset within a sector, as the lines of `inspect` begin with it. */
export function hex(offset: number): string {
  return `0x${offset.toString(16).padStart(4, "0")}`;
}
