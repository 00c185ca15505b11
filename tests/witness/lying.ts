import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fromUtf8 } from "tallystick/bytes/bytes";
import { parseNote } from "tallystick/log/note";
import { readAddCheckpoint } from "tallystick/log/witness";
import { must } from "./fixture.js";

/** What a witness was asked, as it came. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly oldSize: number;
  /** The checkpoint's text, and its size. */
  readonly text: string;
  readonly size: number;
}

export type Lie = (asked: Asked, answer: ServerResponse) => void;

/** A server at a witness's address that answers whatever it is told to. */
export class LyingWitness {
  lie: Lie;
  readonly asked: Asked[] = [];
  readonly #server = createServer((request, answer) => void this.#answer(request, answer));

  private constructor(lie: Lie) {
    this.lie = lie;
  }

  static async start(lie: Lie): Promise<LyingWitness> {
    const lying = new LyingWitness(lie);
    await new Promise<void>((resolve) => lying.#server.listen(0, "127.0.0.1", resolve));
    return lying;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    // Whoever asked may go away in the middle of an answer.
    answer.on("error", () => undefined);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = new Uint8Array(Buffer.concat(parts));
    const read = request.method === "POST" ? must(readAddCheckpoint(body)) : undefined;
    const text = read ? must(parseNote(read.checkpoint)).text : "";
    const asked = {
      method: request.method!,
      path: request.url!,
      body,
      oldSize: read?.oldSize ?? -1,
      text,
      size: read ? Number(text.split("\n")[1]) : -1,
    };
    this.asked.push(asked);
    this.lie(asked, answer);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Signature lines of a published checkpoint, without the text. */
export function linesOf(checkpoint: Uint8Array): string[] {
  return must(parseNote(checkpoint)).signatures.map(({ name }) => name);
}

export function textOf(checkpoint: Uint8Array): string {
  return fromUtf8(checkpoint)!.split("\n\n")[0]!;
}

const UNTIL_MAX_MS = 20_000;
const LOOK_AGAIN_MS = 5;

/** Looks again and again until it holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + UNTIL_MAX_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`it never came to: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
