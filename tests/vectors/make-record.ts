/** Writes tests/vectors/record.json anew: one record of each kind by a fixed key. Run it only when the format changes. */
import { writeFileSync } from "node:fs";
import { toHex } from "tallystick/bytes/bytes";
import { type Head, headOf, nextBody } from "tallystick/chain/chain";
import { kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { type Cbor, encodeCbor } from "tallystick/record/cbor";
import { encodeGap } from "tallystick/record/gap";
import { coseKey, encodeBoot, encodeGenesis, encodeMark } from "tallystick/record/payload";
import { Kind, parseRecord, readBody, toBeSigned } from "tallystick/record/record";

const seed = new Uint8Array(32).map((_, i) => i + 1);
const publicKey = portableCrypto.ed25519.publicKey(seed);
const nextKey = portableCrypto.ed25519.publicKey(new Uint8Array(32).fill(9));
const kid = kidOf(portableCrypto.sha256, publicKey);
const hash = (text: string) => portableCrypto.sha256(new TextEncoder().encode(text));
const firmware = { version: "1.2.3", sha256: hash("firmware") };

const contents: [Kind, Uint8Array, number, 0 | 1 | 2 | 3][] = [
  [
    Kind.genesis,
    encodeGenesis({
      publicKey,
      model: "simulator",
      firmware,
      quantities: [{ name: "temperature", unit: "Cel" }],
      markIntervalS: 3600,
      relayKey: nextKey,
    }),
    12,
    0,
  ],
  [
    Kind.readings,
    encodeCbor([
      new Map<number, Cbor>([
        [2, 21.37],
        [6, -1.5],
        [-2, "temperature"],
        [-4, "Cel"],
      ]),
      new Map<number, Cbor>([[2, 21]]),
      new Map<number, Cbor>([
        [3, "crc"],
        [6, -0.984375],
        [-2, "humidity"],
        [-4, "%RH"],
      ]),
    ]),
    2000,
    0,
  ],
  [
    Kind.readings,
    encodeCbor([
      new Map<number, Cbor>([
        [2, 101325],
        [-2, "pressure"],
        [-3, 1790000000.25],
        [-4, "Pa"],
      ]),
      new Map<number, Cbor>([
        [2, 101324.75],
        [6, 5],
      ]),
      new Map<number, Cbor>([
        [2, 21.5],
        [6, -0.25],
        [-2, "attic/temperature"],
        [-4, "Cel"],
      ]),
      new Map<number, Cbor>([
        [2, -7.0078125],
        [-2, "cellar/temperature"],
      ]),
    ]),
    3000,
    3,
  ],
  [
    Kind.boot,
    encodeBoot({
      resetReason: 1,
      firmware,
      recovery: { tornTail: true, voidedBytes: 160, sectorsScanned: 2 },
      handshake: hash("answer"),
    }),
    40,
    1,
  ],
  [
    Kind.mark,
    encodeMark({
      acknowledgement: { sha256: hash("acknowledgement"), logSize: 70000, logRoot: hash("root"), timeS: 1790000100 },
      clockEvents: [[41, 1, 3]],
    }),
    5000,
    3,
  ],
  [
    Kind.gap,
    encodeGap({
      first: 1,
      last: 3,
      count: 3,
      lastId: hash("last"),
      root: hash("ids"),
      summaries: [{ name: "temperature", minimum: -2.5, maximum: 21.5, mean: 10.25, values: 4 }],
      takenOver: { seq: 4, id: hash("gap"), from: 3 },
    }),
    6000,
    3,
  ],
  [
    Kind.alert,
    encodeCbor(
      new Map<number, Cbor>([
        [1, "stuck"],
        [2, [hash("record")]],
        [3, "temperature did not move for an hour"],
      ]),
    ),
    7000,
    3,
  ],
  [Kind.rotate, encodeCbor(new Map<number, Cbor>([[1, coseKey(nextKey)]])), 8000, 3],
];

let head: Head | undefined;
const records = contents.map(([kind, payload, uptimeMs, clock]) => {
  const body = nextBody(kid, head, { kind, payload, uptimeMs, clock });
  const parts = readBody(body);
  if (!parts.ok) throw new Error(parts.failure.detail);
  const bytes = new Uint8Array([...body, ...portableCrypto.ed25519.sign(toBeSigned(parts.value), seed, publicKey)]);
  const record = parseRecord(bytes);
  if (!record.ok) throw new Error(record.failure.detail);
  head = headOf(portableCrypto.sha256, record.value);
  return {
    kind,
    boot: head.boot,
    seq: head.seq,
    uptimeMs,
    clock,
    payload: toHex(payload),
    record: toHex(bytes),
    id: toHex(head.id),
  };
});
const vectors = { seed: toHex(seed), publicKey: toHex(publicKey), kid: toHex(kid), records };
writeFileSync(new URL("record.json", import.meta.url), `${JSON.stringify(vectors, null, 2)}\n`);
