import { type FrameHeader, FrameType, frameBytes, isWhole, linkOf, readFrameHeader } from "tallystick/journal/frame";
import { SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import { type Candidate, idAt, isErased, type SectorScan, type SectorView, scanSector } from "tallystick/journal/scan";

/**
 * Everything that stands in a sector behind its header, in its order, without a byte left out. `scanSector` decides which
 * records stand; this walk goes by the same rules (modules/journal/SPEC.md, "Reading a sector") to say of all the rest
 * what it is and why it does not.
 */

export interface Frame {
  readonly kind: "frame";
  readonly offset: number;
  readonly bytes: number;
  readonly header: FrameHeader;
  /** Whether header and body are as they were written here. */
  readonly crcHolds: boolean;
  /** Links to the record right before it that nothing named yet, to the newest named one, or to neither. */
  readonly relation: "follows" | "passes" | "neither";
  /** Of a whole record or copy: of its bytes as they stand here. */
  readonly id: Uint8Array | undefined;
  /** Position by counting from the sector's header. */
  readonly seq: number | undefined;
  /** `open`: nothing in this sector decides. `heeded` and `ignored`: verdicts and positions. */
  readonly verdict: "stands" | "open" | "void" | "heeded" | "ignored";
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
  readonly scan: SectorScan;
}

type Draft = { -readonly [K in keyof Frame]: Frame[K] };

export function walkSector(view: SectorView): SectorWalk {
  const told = new Map<number, { readonly record: Candidate; readonly named: boolean }>();
  const scan = scanSector(view, (record, named) => {
    told.set(record.offset, { record, named });
    return false;
  });
  const pieces = new Walk(view, scan).pieces;
  for (const piece of pieces) if (piece.kind === "frame") judge(piece, scan, told.get(piece.offset));
  return { pieces, scan };
}

/** Where `scanSector` has told of a record, that counts. */
function judge(frame: Draft, scan: SectorScan, told: { record: Candidate; named: boolean } | undefined): void {
  const { type } = frame.header;
  if (type !== FrameType.record && type !== FrameType.copy) return;
  if (told === undefined) return;
  frame.seq = told.record.seq;
  const open = [scan.tail, ...scan.tries].some((candidate) => candidate?.offset === frame.offset);
  if (told.named) frame.verdict = "stands";
  else if (open) {
    frame.verdict = "open";
    frame.why = frame.crcHolds ? "nothing in this sector names it" : "torn body, and nothing behind it decides yet";
  } else {
    frame.verdict = "open";
    frame.why = "what stands behind it links to neither: only its signature can tell";
  }
  if (told.record.afterDamage) frame.why += "; something before it is damaged, for its own link is to nothing here";
}

class Walk {
  readonly pieces: (Draft | Stretch)[] = [];
  readonly #view: SectorView;
  #base: number | undefined;
  #baseAt: Draft | undefined;
  #candidate: { readonly draft: Draft; readonly link: number | undefined } | undefined;
  #tries: Draft[] = [];
  /** End of a verdict that nothing right behind it has proved, and of a copy that is not sealed. */
  #verdict: { readonly end: number; readonly draft: Draft } | undefined;
  #copy: { readonly end: number; readonly draft: Draft } | undefined;

  constructor(view: SectorView, scan: SectorScan) {
    this.#view = view;
    this.#base = view.header && linkOf(view.header.tailId);
    this.#walk();
    if (scan.unproved && this.#verdict !== undefined)
      this.#verdict.draft.why += "; nothing right behind proves that it was driven to the end";
    if (scan.unsealed && this.#copy !== undefined)
      this.#copy.draft.why += "; nothing right behind it: it is made again when it is followed or read";
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
      if (left >= geometry.slotBytes && bytes.subarray(offset, offset + geometry.slotBytes).every((b) => b === 0)) {
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

  #illegible(offset: number, bytes: number): void {
    const last = this.pieces.at(-1);
    if (last?.kind === "illegible") this.pieces.pop();
    const from = last?.kind === "illegible" ? last.offset : offset;
    const why =
      this.#view.geometry.unitBytes === 1
        ? "torn header, or what an erase that was cut has left"
        : "not written, or a torn header: encrypted units do not tell";
    this.pieces.push({ kind: "illegible", offset: from, bytes: offset + bytes - from, why });
  }

  /** Takes the frame at `offset`; answers with its length, 0 where there is none. */
  #frame(offset: number): number {
    const { geometry, sha256, ordinal, bytes } = this.#view;
    if (offset + geometry.slotBytes > bytes.length) return 0;
    const header = readFrameHeader(bytes, offset);
    if (header === undefined) return 0;
    const { type, link, bodyBytes } = header;
    const size = frameBytes(geometry, type, bodyBytes);
    if (offset + size > bytes.length) return 0;
    const crcHolds = isWhole({ ordinal, offset }, bytes, offset, header);
    const follows = this.#candidate?.link !== undefined && link === this.#candidate.link;
    const passes = this.#base !== undefined && link === this.#base;
    // Neither its CRC nor its link say that it is a frame of this sector. A torn verdict says nothing at all.
    if (!crcHolds && (type === FrameType.void || !(follows || passes))) return 0;
    const isRecord = type === FrameType.record || type === FrameType.copy;
    const draft: Draft = {
      kind: "frame",
      offset,
      bytes: size,
      header,
      crcHolds,
      relation: follows ? "follows" : passes ? "passes" : "neither",
      id: isRecord && crcHolds ? idAt(sha256, geometry, bytes, offset, bodyBytes) : undefined,
      seq: undefined,
      verdict: "void",
      why: "",
    };
    const verdict = this.#verdict?.end === offset ? this.#verdict.draft : undefined;
    const copy = this.#copy?.end === offset ? this.#copy.draft : undefined;
    if (verdict !== undefined || copy !== undefined) this.#verdict = this.#copy = undefined;
    if (type === FrameType.record) this.#record(draft);
    else if (type === FrameType.copy) this.#copyOf(draft);
    else if (type === FrameType.void) this.#void(draft, verdict, copy);
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
      this.#base = undefined;
      this.#baseAt = undefined;
    }
    this.#candidate = { draft, link: draft.id && linkOf(draft.id) };
  }

  #copyOf(draft: Draft): void {
    const { relation, offset, id, header } = draft;
    if (id === undefined || linkOf(id) !== header.link) {
      draft.why = id === undefined ? "torn copy" : "copy whose signature is not that of the record that it names";
      return;
    }
    this.#copy = { end: offset + draft.bytes, draft };
    if (relation === "follows") {
      const original = this.#candidate!.draft;
      original.verdict = "stands";
      original.why = `its copy at ${hex(offset)} counts`;
      draft.why = `fresh cells for the record at ${hex(original.offset)}`;
      this.#candidate = { draft, link: header.link };
    } else if (relation === "passes") {
      draft.why = this.#baseAt
        ? `fresh cells for the record at ${hex(this.#baseAt.offset)}`
        : "fresh cells for the newest record of the sectors before";
      this.#baseAt = draft;
    } else {
      this.#base = undefined;
      this.#candidate = { draft, link: header.link };
    }
  }

  #void(draft: Draft, verdict: Draft | undefined, copy: Draft | undefined): void {
    const { relation, offset } = draft;
    draft.verdict = relation === "neither" ? "ignored" : "heeded";
    if (relation === "neither") {
      draft.why = "links to nothing here";
      return;
    }
    const named = relation === "follows" ? this.#candidate?.draft : undefined;
    if (relation === "follows") this.#name(offset);
    else {
      const left = [...this.#tries, ...(this.#candidate ? [this.#candidate.draft] : [])];
      for (const open of left)
        open.why = `${open.crcHolds ? "whole, but void" : "torn body, void"} by the verdict at ${hex(offset)}`;
      this.#candidate = undefined;
    }
    this.#tries = [];
    if (copy !== undefined) draft.why = `seals the copy at ${hex(copy.offset)}: it was finished`;
    else if (named !== undefined) draft.why = `names the record at ${hex(named.offset)}, and voids what is behind it`;
    else if (verdict !== undefined) draft.why = `proves the verdict at ${hex(verdict.offset)}`;
    else draft.why = "verdict: what stands between the linked record and here is void";
    if (copy === undefined && named === undefined && verdict === undefined)
      this.#verdict = { end: offset + draft.bytes, draft };
  }

  #position(draft: Draft): void {
    const linked = draft.relation !== "neither";
    draft.verdict = !draft.crcHolds ? "void" : linked ? "heeded" : "ignored";
    draft.why = !draft.crcHolds ? "torn position" : linked ? "" : "links to nothing here";
  }

  /** The candidate is named by the frame at `offset`: its other tries were the same record. */
  #name(offset: number): void {
    const named = this.#candidate!.draft;
    named.verdict = "stands";
    named.why ||= `named by the frame at ${hex(offset)}`;
    this.#base = this.#candidate!.link;
    this.#baseAt = named;
    this.#candidate = undefined;
    this.#tries = [];
  }
}

/** An offset within a sector, as the lines of `inspect` begin with it. */
export function hex(offset: number): string {
  return `0x${offset.toString(16).padStart(4, "0")}`;
}
