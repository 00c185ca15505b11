import { lineAt, type Problems, type Sources } from "./problem.js";

/** The partition table, as ESP-IDF reads it: CSV, offsets and sizes in bytes. Every board here has 4 MB of flash. */
const FLASH_BYTES = 4 * 1024 * 1024;
const SECTOR_BYTES = 4096;
const APP_ALIGNMENT_BYTES = 0x10000;
/** Bootloader and the table itself come before. */
const FIRST_BYTE = 0x9000;
const JOURNAL = "chain";
const JOURNAL_SUBTYPE = 0x40;

export function checkPartitions(file: string, sources: Sources, problems: Problems): void {
  const text = sources.text(file);
  let end = FIRST_BYTE;
  let journal = 1;
  let offset = 0;
  for (const row of text.split("\n")) {
    const line = lineAt(text, offset);
    offset += row.length + 1;
    if (row.trim() === "" || row.startsWith("#")) continue;
    const complain = (message: string): void => problems.add(file, line, message);
    const [name, type, subtype, at, size] = row.split(",").map((cell) => cell.trim());
    const start = Number(at);
    const bytes = Number(size);
    if (!at || !size || Number.isNaN(start) || Number.isNaN(bytes)) {
      complain("expected name, type, subtype, offset and size, the last two as numbers of bytes");
      continue;
    }
    if (start < end) complain(`${name} begins at 0x${start.toString(16)}, before 0x${end.toString(16)} where it may`);
    const alignment = type === "app" ? APP_ALIGNMENT_BYTES : SECTOR_BYTES;
    if (start % alignment !== 0 || bytes % SECTOR_BYTES !== 0) complain(`${name} is not aligned to ${alignment} bytes`);
    end = start + bytes;
    if (end > FLASH_BYTES) complain(`${name} ends beyond ${FLASH_BYTES} bytes of flash`);
    if (name === JOURNAL) {
      journal = 0;
      if (type !== "data" || Number(subtype) !== JOURNAL_SUBTYPE)
        complain(`expected ${JOURNAL}, data, 0x${JOURNAL_SUBTYPE.toString(16)}: a kind that nothing else formats`);
    }
  }
  if (journal !== 0) problems.add(file, 1, `no partition ${JOURNAL}: the journal has nowhere to be`);
}
