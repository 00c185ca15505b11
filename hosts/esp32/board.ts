/**
 * What the board's C provides (board.c). mcconfig binds `native("xs_…")` to the function of that name; a function whose
 * whole body is that call costs nothing beyond the C. Results are fresh buffers: C hands out no pointer into the heap.
 */
export const board = Object.freeze({
  /** SHA-256 (FIPS 180-4): 32 bytes. */
  sha256(bytes: Uint8Array): ArrayBuffer {
    return native("xs_tallystick_sha256").call(this, bytes);
  },
  /** The Ed25519 public key of a 32-byte seed. */
  publicKey(seed: Uint8Array): ArrayBuffer {
    return native("xs_tallystick_public_key").call(this, seed);
  },
  /** RFC 8032 §5.1.6; 64 bytes. Throws where a length is wrong. */
  sign(message: Uint8Array, seed: Uint8Array, publicKey: Uint8Array): ArrayBuffer {
    return native("xs_tallystick_sign").call(this, message, seed, publicKey);
  },
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
    return native("xs_tallystick_verify").call(this, signature, message, publicKey);
  },
  /** At most 64 bytes from the hardware generator, its entropy source running; throws where that cannot be had. */
  entropy(length: number): ArrayBuffer {
    return native("xs_tallystick_entropy").call(this, length);
  },
  /** Milliseconds since this start; 64 bits wide in C, so that it does not turn over after 49 days as `Time.ticks` does. */
  uptimeMs(): number {
    return native("xs_tallystick_uptime").call(this);
  },
  /** The chip's name as ESP-IDF writes it: `esp32`, `esp32c3`, … */
  model(): string {
    return native("xs_tallystick_model").call(this);
  },
  /** The MAC address that the chip was made with: 6 bytes. Throws where its eFuses do not check. */
  chipId(): ArrayBuffer {
    return native("xs_tallystick_chip_id").call(this);
  },
  /** `esp_reset_reason_t` of ESP-IDF v6.0. */
  resetReason(): number {
    return native("xs_tallystick_reset_reason").call(this);
  },
  /** SHA-256 of the application image that runs, as its partition holds it: 32 bytes. */
  firmwareSha256(): ArrayBuffer {
    return native("xs_tallystick_firmware_sha256").call(this);
  },
  /** Whether the data partition of this label is encrypted by the chip. Throws where there is none. */
  isEncrypted(label: string): boolean {
    return native("xs_tallystick_is_encrypted").call(this, label);
  },
});
