/**
 * Follows the packets in the bytes that a broker sends, by their fixed headers (MQTT 5.0 §2.1), to see what is announced
 * before it is there: the library under us collects a packet whole, and one may be 256 MiB. That we take no more is said at
 * each connection (Maximum Packet Size); this holds it against a broker that does not care.
 */
export class PacketMeter {
  readonly #maxBytes: number;
  /** Bytes of the present packet that are still to come; 0 where a header is next. */
  #left = 0;
  /** Of the remaining length: what is read of it, and the weight of its next 7 bits; 0 before a packet's first byte. */
  #length = 0;
  #weight = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether all packets that `chunk` announces are of the allowed length. Not to be asked again after a `false`. */
  takes(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, chunk.length - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at++]!;
      if (this.#weight === 0) {
        this.#weight = 1;
        this.#length = 0;
        continue;
      }
      this.#length += (byte & 0x7f) * this.#weight;
      if (this.#length > this.#maxBytes) return false;
      if (byte < 0x80) {
        this.#left = this.#length;
        this.#weight = 0;
      } else {
        this.#weight *= 128;
        // A fifth byte of length there is not.
        if (this.#weight > 128 ** 3) return false;
      }
    }
    return true;
  }
}
