/** ECMA-419's byte buffer: what `read` fills and `write` takes. */
export type ByteBuffer = ArrayBuffer | Uint8Array | Int8Array | Uint8ClampedArray | DataView;

/** The same bytes, not a copy. */
export function viewOf(buffer: ByteBuffer): Uint8Array {
  if (buffer instanceof Uint8Array) return buffer;
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer);
  if (ArrayBuffer.isView(buffer)) return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  throw new TypeError("expected a byte buffer");
}

/** An ArrayBuffer of its own that holds the bytes. */
export function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

/** ECMA-419 §8: a `format` other than the class's only one is a RangeError. */
export function onlyFormat(format: unknown, only: string): void {
  if (format !== undefined && format !== only) throw new RangeError(`format: expected ${only}, got ${String(format)}`);
}
