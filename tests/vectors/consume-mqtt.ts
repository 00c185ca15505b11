import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeDown, encodeUp, readDown, readUp, upOf } from "tallystick/sync/mqtt";

export interface MqttVectors {
  readonly id: string;
  readonly ups: readonly {
    readonly method: "GET" | "POST";
    readonly path: string;
    readonly body: string;
    readonly kid?: string;
    readonly up: string;
  }[];
  readonly downs: readonly {
    readonly status: number;
    readonly retryAfterS?: number;
    readonly body: string;
    readonly down: string;
  }[];
  /** No messages of either topic. */
  readonly refused: readonly { readonly message: string; readonly why: string }[];
}

/** Each message made and read, and what is none. */
export function consumeMqtt({ id, ups, downs, refused }: MqttVectors): string[] {
  const idBytes = fromHex(id)!;
  const lines: string[] = [];
  for (const { method, path, body, kid, up } of ups) {
    const made = upOf({ method, path, body: fromHex(body)! }, idBytes);
    lines.push(`mqtt ${path} made ${made?.kid === kid} ${made !== undefined && toHex(made.bytes) === up}`);
    const read = readUp(fromHex(up)!);
    if (!read.ok) lines.push(`mqtt ${path} read false ${read.failure.code} ${read.failure.detail}`);
    else lines.push(`mqtt ${path} read ${toHex(read.value.body) === body} ${toHex(encodeUp(read.value)) === up}`);
  }
  for (const { status, retryAfterS, body, down } of downs) {
    const read = readDown(fromHex(down)!);
    if (!read.ok) lines.push(`mqtt ${status} read false ${read.failure.code} ${read.failure.detail}`);
    else {
      const isSame = toHex(read.value.body) === body && read.value.retryAfterS === retryAfterS;
      lines.push(`mqtt ${status} read ${isSame} ${toHex(encodeDown(read.value)) === down}`);
    }
  }
  for (const { message, why } of refused) {
    const [up, down] = [readUp(fromHex(message)!), readDown(fromHex(message)!)];
    const codes = [up, down].map((read) => (read.ok ? "" : read.failure.code));
    lines.push(`mqtt refused ${!up.ok} ${!down.ok} ${codes.join(" ")}: ${why}`);
  }
  return lines;
}
