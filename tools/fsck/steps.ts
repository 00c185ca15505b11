import { FrameType, frameBytes, readFrameHeader } from "tallystick/journal/frame";
import { FRAME_HEADER_BYTES, type Geometry, RECORDS_OFFSET, SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import { readSectorHeader } from "tallystick/journal/sector";
import { readBody } from "tallystick/record/record";
import type { Operation } from "./image-flash.js";

/** What the journal would do, as the programs and erases that it made on a copy tell it. */
export type Step =
  /** A sector is erased, and gets its header and a position frame. */
  | { readonly kind: "open"; readonly sector: number; readonly ordinal: number }
  /** The same, with a record that was there before: its body, then the position frame, then its signature. */
  | { readonly kind: "carry"; readonly sector: number; readonly ordinal: number; readonly seq: number }
  /** Zeros over the slot in which an earlier start may have begun to write. */
  | { readonly kind: "spend"; readonly sector: number; readonly offset: number }
  /** Fresh cells for a record: its body, then its signature. */
  | { readonly kind: "record"; readonly sector: number; readonly offset: number; readonly seq: number }
  /** A verdict: void frames, one right behind the other. */
  | { readonly kind: "void"; readonly sector: number; readonly offset: number; readonly frames: number }
  | { readonly kind: "position"; readonly sector: number; readonly offset: number }
  /** None of these: then this command does not know the journal that it was built with. */
  | { readonly kind: "other"; readonly sector: number; readonly offset: number };

/** A frame that is being programmed, as far as it is there. */
interface Frame {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Operations, in their order, as steps: a frame is programmed in parts, and an opening takes several operations. */
export function stepsOf(operations: readonly Operation[], geometry: Geometry): readonly Step[] {
  const { sectorBytes } = geometry;
  const steps: Step[] = [];
  let opening: number | undefined;
  let frame: Frame | undefined;
  /** That of a carried one gets its signature behind the position frame, so it stays at hand. */
  let record: (Frame & { readonly step: number }) | undefined;
  /** Where the last slot of zeros began. */
  let spent: number | undefined;
  for (const operation of operations) {
    if (operation.kind === "erase") {
      opening = operation.sector;
      frame = record = undefined;
      continue;
    }
    const { offset, bytes } = operation;
    const sector = Math.floor(offset / sectorBytes);
    const inSector = offset % sectorBytes;
    const begun = [frame, record].find((one) => one && offset > one.start && offset < one.start + one.bytes.length);
    if (begun !== undefined) {
      begun.bytes.set(bytes, offset - begun.start);
      if (begun === record) steps[record.step] = withSeq(steps[record.step]!, record.bytes);
      continue;
    }
    frame = undefined;
    if (opening === sector && inSector < RECORDS_OFFSET) {
      const reading = inSector === 0 ? readSectorHeader(geometry, bytes.slice(0, SECTOR_HEADER_BYTES)) : undefined;
      if (reading?.kind !== "header") continue;
      const { ordinal, carries } = reading.header;
      steps.push(carries ? { kind: "carry", sector, ordinal, seq: UNREAD } : { kind: "open", sector, ordinal });
      continue;
    }
    const last = steps.at(-1);
    const header = readFrameHeader(bytes, 0);
    if (header === undefined) {
      const isZeros = bytes.every((byte) => byte === 0);
      // A slot may lie on both sides of a page's end.
      if (isZeros && spent !== undefined && offset > spent && offset + bytes.length <= spent + geometry.slotBytes)
        continue;
      spent = isZeros ? offset : undefined;
      steps.push({ kind: isZeros ? "spend" : "other", sector, offset: inSector });
      continue;
    }
    const whole = new Uint8Array(frameBytes(geometry, header.type, header.bodyBytes));
    whole.set(bytes);
    if (header.type === FrameType.record) {
      const isCarried = last?.kind === "carry" && inSector === RECORDS_OFFSET;
      if (!isCarried) steps.push({ kind: "record", sector, offset: inSector, seq: UNREAD });
      record = { start: offset, bytes: whole, step: steps.length - 1 };
      steps[record.step] = withSeq(steps[record.step]!, whole);
      continue;
    }
    frame = { start: offset, bytes: whole };
    if (header.type === FrameType.position) steps.push({ kind: "position", sector, offset: inSector });
    else if (last?.kind === "void" && last.sector === sector)
      steps[steps.length - 1] = { ...last, frames: last.frames + 1 };
    else steps.push({ kind: "void", sector, offset: inSector, frames: 1 });
  }
  return steps;
}

/** The position of a record whose body is not there yet. */
const UNREAD = -1;

/** A record's position stands in its body, which is there once the frame is. */
function withSeq(step: Step, frame: Uint8Array): Step {
  const header = readFrameHeader(frame, 0)!;
  const body = readBody(frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + header.bodyBytes));
  return "seq" in step && body.ok ? { ...step, seq: body.value.header.seq } : step;
}
