/**
 * Byte strings: the few operations that every format here needs and that ECMAScript 2021 lacks.
 * UTF-8 is ours because the modules may use no global beyond ECMAScript (XS has no TextEncoder).
 */

const HEX = "0123456789abcdef";

/** Lower-case hexadecimal, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i]! >> 4]! + HEX[bytes[i]! & 15]!;
  return text;
}

/** The bytes that `text` spells in hexadecimal of either case, or undefined where it spells none. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = HEX.indexOf(text.charAt(2 * i).toLowerCase());
    const low = HEX.indexOf(text.charAt(2 * i + 1).toLowerCase());
    if (high < 0 || low < 0) return undefined;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** Same length and same bytes. Not constant in time: use it on public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Negative, zero or positive as `a` sorts before, with or after `b`: bytewise, a prefix before what it starts. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** All parts, one after the other, in one new array. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** UTF-8 (RFC 3629) of a string; a lone surrogate becomes U+FFFD. */
export function utf8(text: string): Uint8Array {
  let length = 0;
  for (const character of text) length += encodedLength(scalar(character));
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const character of text) {
    const code = scalar(character);
    const count = encodedLength(code);
    if (count === 1) bytes[at++] = code;
    else {
      bytes[at++] = ((0xf00 >> count) & 0xff) | (code >> (6 * (count - 1)));
      for (let rest = count - 2; rest >= 0; rest--) bytes[at++] = 0x80 | ((code >> (6 * rest)) & 0x3f);
    }
  }
  return bytes;
}

function scalar(character: string): number {
  const code = character.codePointAt(0)!;
  return code >= 0xd800 && code <= 0xdfff ? 0xfffd : code;
}

function encodedLength(code: number): number {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/** The string that valid UTF-8 spells; undefined for anything else (overlong forms and surrogates included). */
export function fromUtf8(bytes: Uint8Array): string | undefined {
  let text = "";
  let i = 0;
  while (i < bytes.length) {
    const first = bytes[i++]!;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    if (count === 0 || first > 0xf4 || i + count - 1 > bytes.length) return undefined;
    let code = first & (0x7f >> count);
    for (let n = 1; n < count; n++) {
      const next = bytes[i++]!;
      if ((next & 0xc0) !== 0x80) return undefined;
      code = code * 64 + (next & 0x3f);
    }
    if (encodedLength(code) !== count || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return undefined;
    text += String.fromCodePoint(code);
  }
  return text;
}
