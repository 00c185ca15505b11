/** Writes tests/vectors/mqtt.json anew. Run it only when the format changes. */
import { writeFileSync } from "node:fs";
import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { type Cbor, encodeCbor } from "tallystick/record/cbor";
import { encodeRequest } from "tallystick/sync/messages";

const id = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const kid = "0011223344556677";
const request = toHex(encodeRequest({ nonce: new Uint8Array(16).fill(0x66), pinnedSize: 7 }));

/** By the specification, and not by the code that is tried with it. */
const message = (head: Cbor, body: string) => toHex(encodeCbor(head)) + body;
const up = (method: "GET" | "POST", path: string, head: Cbor[], body = "", named?: string) => ({
  method,
  path,
  body,
  ...(named !== undefined && { kid: named }),
  up: message([1, id, ...head], body),
});
const down = (status: number, body: string, retryAfterS?: number) => ({
  status,
  ...(retryAfterS !== undefined && { retryAfterS }),
  body,
  down: message([1, id, status, retryAfterS ?? null], body),
});
const refused = (why: string, head: Cbor, body = "") => ({ why, message: message(head, body) });

const max = Number.MAX_SAFE_INTEGER;
const vector = {
  id: toHex(id),
  ups: [
    up("GET", "/v1/challenge", [1]),
    up("POST", "/v1/devices", [2], "a0"),
    up("POST", `/v1/devices/${kid}/head`, [3], request, kid),
    up("POST", `/v1/devices/${kid}/records`, [4], `${request}d28443a10127a0`, kid),
    up("POST", `/v1/devices/${kid}/succession`, [5], "a0", kid),
    up("GET", `/v1/devices/${kid}/records?from=5&to=8`, [6, 5, 8], "", kid),
    up("GET", `/v1/devices/${kid}/records?from=0&to=${max}`, [6, 0, max], "", kid),
    up("GET", "/v1/relay/keys?generation=1024", [7, 1024]),
  ],
  downs: [down(200, "a0"), down(404, toHex(utf8('{"code":"DEVICE_UNKNOWN"}'))), down(503, "7b7d", 2)],
  refused: [
    refused("no array", new Map<number, Cbor>([[1, id]])),
    refused("another version", [2, id, 3], request),
    refused("a short message id", [1, id.subarray(1), 3], request),
    refused("a long message id", [1, new Uint8Array(9), 3], request),
    refused("call 0", [1, id, 0]),
    refused("call 8", [1, id, 8]),
    refused("an argument too many", [1, id, 3, 5], request),
    refused("an argument too few", [1, id, 6, 5]),
    refused("a negative argument", [1, id, 7, -1]),
    refused("a body of none", [1, id, 1], "a0"),
    refused("status 99", [1, id, 99, null]),
    refused("status 600", [1, id, 600, null]),
    refused("text for seconds", [1, id, 503, "2"]),
    refused("a head too long", [1, id, 6, max, max, max]),
    { why: "a head that is not in its shortest form", message: `83180148${toHex(id)}03${request}` },
    { why: "a head of indefinite length", message: `9f0148${toHex(id)}03ff${request}` },
    { why: "a head cut short", message: `830148${toHex(id)}` },
    { why: "nothing", message: "" },
  ],
};
for (const { message: text } of vector.refused) if (!fromHex(text)) throw new Error("not hexadecimal");
writeFileSync(new URL("mqtt.json", import.meta.url), `${JSON.stringify(vector, null, 2)}\n`);
