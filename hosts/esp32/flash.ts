import FlashStorage from "embedded:storage/flash";
import { type Flash, FlashError } from "tallystick/journal/flash";
import { board } from "./board.js";

/** ESP-IDF encrypts flash in blocks of this many bytes, each to be written once between two erases. */
const ENCRYPTED_UNIT_BYTES = 32;

/** The data partition `label` of partitions.csv, raw. Throws where the table has none. */
export function openPartition(label: string): Flash {
  const partition = FlashStorage.open({ path: label, mode: "r+" });
  const { size, blockLength } = partition.status();
  // The SDK's status().writeAlign is undefined on the ESP32: the partition's own flag tells.
  const writeUnitBytes = board.isEncrypted(label) ? ENCRYPTED_UNIT_BYTES : 1;
  return {
    sizeBytes: size,
    sectorBytes: blockLength,
    writeUnitBytes,
    read(offset, into) {
      attempt("read", offset, () => partition.read(into, offset));
    },
    write(offset, bytes) {
      attempt("write", offset, () => partition.write(bytes, offset));
    },
    erase(sector) {
      attempt("erase", sector * blockLength, () => partition.eraseBlock(sector, sector + 1));
    },
  };
}

function attempt(operation: "read" | "write" | "erase", offset: number, action: () => unknown): void {
  try {
    action();
  } catch (error) {
    throw new FlashError(operation, offset, error instanceof Error ? error.message : "refused");
  }
}
