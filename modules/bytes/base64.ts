/** Standard base64 with padding (RFC 4648 §4), and only its canonical form. */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const rest = bytes.length - i;
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63);
    text += rest > 1 ? ALPHABET.charAt((group >> 6) & 63) : "=";
    text += rest > 2 ? ALPHABET.charAt(group & 63) : "=";
  }
  return text;
}

/** The bytes, or undefined where `text` is not exactly what `toBase64` makes of them: no spaces, no stray bits. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let at = 0;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < text.length - padding; i++) {
    const digit = ALPHABET.indexOf(text.charAt(i));
    if (digit < 0) return undefined;
    held = ((held << 6) | digit) & 0xfff;
    heldBits += 6;
    if (heldBits < 8) continue;
    heldBits -= 8;
    bytes[at++] = held >> heldBits;
    held &= (1 << heldBits) - 1;
  }
  return held === 0 ? bytes : undefined;
}
