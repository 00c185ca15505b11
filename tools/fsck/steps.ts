import { FrameType, frameBytes, readFrameHeader } from "tallystick/journal/frame";
import { FRAME_HEADER_BYTES, type Geometry, RECORDS_OFFSET, SECTOR_HEADER_BYTES } from "tallystick/journal/layout";
import { readSectorHeader } from "tallystick/journal/sector";
import { readBody } from "tallystick/record/record";
import type { Operation } from "./image-flash.js";

/** What the journal would do, as the programs and erases that it made on a copy tell it. */
export type Step =
  /** A sector is erased, and gets its header and a position frame. */
  | { readonly kind: "open"; readonly sector: number; readonly ordinal: number }
  /** Zeros over the slot in which an earlier start may have begun to write. */
  | { readonly kind: "spend"; readonly sector: number; readonly offset: number }
  | { readonly kind: "void"; readonly sector: number; readonly offset: number; readonly frames: number }
  | { readonly kind: "position"; readonly sector: number; readonly offset: number }
  | { readonly kind: "record" | "copy"; readonly sector: number; readonly offset: number; readonly seq: number }
  /** None of these: then this command does not know the journal that it was built with. */
  | { readonly kind: "other"; readonly sector: number; readonly offset: number };

/** Operations, in their order, as steps: a frame is programmed in parts, and an opening takes three operations. */
export function stepsOf(operations: readonly Operation[], geometry: Geometry): readonly Step[] {
  const { sectorBytes } = geometry;
  const steps: Step[] = [];
  /** The bytes of the frame that is being programmed, as far as they are there. */
  let frame: { readonly start: number; readonly bytes: Uint8Array; readonly isRecord: boolean } | undefined;
  let opening: number | undefined;
  for (const operation of operations) {
    if (operation.kind === "erase") {
      opening = operation.sector;
      frame = undefined;
      continue;
    }
    const { offset, bytes } = operation;
    const sector = Math.floor(offset / sectorBytes);
    const inSector = offset % sectorBytes;
    if (frame !== undefined && offset > frame.start && offset < frame.start + frame.bytes.length) {
      frame.bytes.set(bytes, offset - frame.start);
      if (frame.isRecord) steps[steps.length - 1] = recordStep(geometry, frame.start, frame.bytes);
      continue;
    }
    frame = undefined;
    if (opening === sector && inSector < RECORDS_OFFSET) {
      const reading = inSector === 0 ? readSectorHeader(geometry, bytes.slice(0, SECTOR_HEADER_BYTES)) : undefined;
      if (reading?.kind === "header") steps.push({ kind: "open", sector, ordinal: reading.header.ordinal });
      continue;
    }
    const header = readFrameHeader(bytes, 0);
    if (header === undefined) {
      const kind = bytes.length === geometry.slotBytes && bytes.every((byte) => byte === 0) ? "spend" : "other";
      steps.push({ kind, sector, offset: inSector });
      continue;
    }
    const whole = new Uint8Array(frameBytes(geometry, header.type, header.bodyBytes));
    whole.set(bytes);
    frame = {
      start: offset,
      bytes: whole,
      isRecord: header.type === FrameType.record || header.type === FrameType.copy,
    };
    const last = steps.at(-1);
    if (header.type === FrameType.position) steps.push({ kind: "position", sector, offset: inSector });
    else if (header.type !== FrameType.void) steps.push(recordStep(geometry, offset, whole));
    else if (last?.kind === "void" && last.sector === sector)
      steps[steps.length - 1] = { ...last, frames: last.frames + 1 };
    else steps.push({ kind: "void", sector, offset: inSector, frames: 1 });
  }
  return steps;
}

/** Its position stands in the body, which is there once the frame is. */
function recordStep({ sectorBytes }: Geometry, start: number, frame: Uint8Array): Step {
  const header = readFrameHeader(frame, 0)!;
  const body = readBody(frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + header.bodyBytes));
  return {
    kind: header.type === FrameType.copy ? "copy" : "record",
    sector: Math.floor(start / sectorBytes),
    offset: start % sectorBytes,
    seq: body.ok ? body.value.header.seq : -1,
  };
}
