import { createHash } from "node:crypto";
import type { WireCall } from "./lane.js";

/** Lines that one trace keeps; what follows counts in the digest only. */
export const TRACE_LINES_MAX = 1_000_000;

/** Everything that crosses a board's wire, as lines of text: two runs are the same if and only if their digests are. */
export class Trace {
  readonly lines: string[] = [];
  readonly #hash = createHash("sha256");
  #count = 0;

  add(line: string): void {
    this.#hash.update(line).update("\n");
    this.#count += 1;
    if (this.lines.length < TRACE_LINES_MAX) this.lines.push(line);
  }

  get count(): number {
    return this.#count;
  }

  /** SHA-256 over all lines so far, in hexadecimal. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** The same call, with each operation, request and reply written down. */
  recording(call: WireCall): WireCall {
    return (operation, request) => {
      const asked = `call ${operation.toString(16).padStart(2, "0")} ${hex(request)}`;
      let reply: Uint8Array;
      try {
        reply = call(operation, request);
      } catch (error) {
        this.add(`${asked} > ${error instanceof Error ? error.name : "thrown"}`);
        throw error;
      }
      this.add(`${asked} > ${hex(reply)}`);
      return reply;
    };
  }

  event(bytes: Uint8Array): void {
    this.add(`event ${hex(bytes)}`);
  }
}

/** Where two traces part, for people; undefined where they are the same. */
export function difference(a: Trace, b: Trace): string | undefined {
  if (a.digest() === b.digest()) return undefined;
  const length = Math.max(a.lines.length, b.lines.length);
  for (let i = 0; i < length; i++)
    if (a.lines[i] !== b.lines[i]) return `line ${i + 1}:\n  ${a.lines[i] ?? "(ended)"}\n  ${b.lines[i] ?? "(ended)"}`;
  return `after line ${length}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
