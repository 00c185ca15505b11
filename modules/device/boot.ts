import type { MountReport } from "../journal/report.js";
import { encodeBoot } from "../record/payload.js";
import type { Platform } from "./platform.js";

/** A `boot` record's payload takes no more: firmware names itself in at most 64 bytes. */
export const BOOT_PAYLOAD_BYTES = 256;

/** What the record before a start's first other record says. */
export function describeStart(
  { resetReason, firmware, flash }: Pick<Platform, "resetReason" | "firmware" | "flash">,
  { tail, voidBytes, linear }: MountReport,
  handshake: Uint8Array | undefined,
): Uint8Array {
  const recovery = {
    tornTail: tail === "voided" || tail === "signed",
    voidedBytes: voidBytes,
    sectorsScanned: linear ? flash.sizeBytes / flash.sectorBytes : 1,
  };
  return encodeBoot({ resetReason, firmware, recovery, ...(handshake && { handshake }) });
}
