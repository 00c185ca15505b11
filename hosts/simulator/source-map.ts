/**
 * Reads what little of a source map (ECMA-426) a board's line numbers need: for each generated line the line of the
 * source that its first mapped column came from.
 */

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const CONTINUES = 32;
const VALUE_BITS = 5;

/** `mappings` of a source map with one source; lines count from 1 in the result, index 0 is generated line 1. */
export function sourceLines(mappings: string): number[] {
  const lines: number[] = [];
  let sourceLine = 0;
  for (const generated of mappings.split(";")) {
    let first: number | undefined;
    for (const segment of generated.split(",")) {
      if (segment === "") continue;
      // Generated column, source, source line, source column, name: each relative to the one before it.
      const fields = decodeFields(segment);
      sourceLine += fields[2] ?? 0;
      first ??= sourceLine;
    }
    // A line that maps nowhere belongs to what came before it.
    lines.push(first === undefined ? (lines.at(-1) ?? 1) : first + 1);
  }
  return lines;
}

/** Base64 VLQ: little-endian groups of five bits, the lowest bit of the whole is the sign. */
function decodeFields(segment: string): number[] {
  const fields: number[] = [];
  let value = 0;
  let shift = 0;
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    if (digit < 0) throw new Error(`source map: expected base64, received ${JSON.stringify(character)}`);
    value += (digit & (CONTINUES - 1)) << shift;
    if (digit & CONTINUES) shift += VALUE_BITS;
    else {
      fields.push(value & 1 ? -(value >> 1) : value >> 1);
      value = 0;
      shift = 0;
    }
  }
  return fields;
}
