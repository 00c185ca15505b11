/** Writes tests/vectors/pack.json anew: readings and the packs that they make. Run it only when the format changes. */
import { writeFileSync } from "node:fs";
import { toHex } from "tallystick/bytes/bytes";
import { PACK_MAX_BYTES, PackBuilder, type Reading } from "tallystick/sampler/pack";

interface PackVector {
  readonly why: string;
  readonly readings: readonly Reading[];
  /** Uptime at closing, and wall time less uptime where the clock is set. */
  readonly uptimeMs: number;
  readonly wallOffsetMs: number | null;
}

const vectors: readonly PackVector[] = [
  {
    why: "the clock is unset: offsets count back from the record's uptime, 0 is left out",
    readings: [
      { name: "temperature", unit: "Cel", value: 21.3671875, uptimeMs: 60_000 },
      { name: "temperature", unit: "Cel", value: 21.5, uptimeMs: 90_250 },
      { name: "temperature", unit: "Cel", value: -7, uptimeMs: 120_007 },
    ],
    uptimeMs: 120_012,
    wallOffsetMs: null,
  },
  {
    why: "the clock is set: the first entry has the base time, a fault stands where there is no value",
    readings: [
      { name: "attic/pressure", unit: "Pa", value: 100653.25, uptimeMs: 5_000 },
      { name: "attic/humidity", unit: "%RH", value: { fault: "crc" }, uptimeMs: 5_000 },
      { name: "attic/temperature", unit: "Cel", value: 25.078125, uptimeMs: 5_000 },
      { name: "cellar/temperature", unit: "Cel", value: { fault: "no-ack" }, uptimeMs: 6_500 },
    ],
    uptimeMs: 65_000,
    wallOffsetMs: 1_767_225_600_123,
  },
  {
    why: "entries stand by quantity, in the order in which each first came; a unit that holds on is not repeated",
    readings: [
      { name: "attic/temperature", unit: "Cel", value: 21.5, uptimeMs: 10_000 },
      { name: "attic/humidity", unit: "%RH", value: 45.25, uptimeMs: 10_000 },
      { name: "cellar/temperature", unit: "Cel", value: 9.5, uptimeMs: 9_900 },
      { name: "attic/temperature", unit: "Cel", value: { fault: "missed" }, uptimeMs: 15_000 },
      { name: "attic/humidity", unit: "%RH", value: { fault: "missed" }, uptimeMs: 15_000 },
      { name: "roof/temperature", unit: "Cel", value: -3, uptimeMs: 16_000 },
      { name: "attic/temperature", unit: "Cel", value: 21.625, uptimeMs: 20_000 },
      { name: "attic/humidity", unit: "%RH", value: 45.5, uptimeMs: 20_000 },
    ],
    uptimeMs: 20_000,
    wallOffsetMs: 1_767_225_600_000,
  },
  {
    why: "the base time is rounded to 1/1024 s, offsets to 1/64 s",
    readings: [
      { name: "illuminance", unit: "lx", value: 65535.875, uptimeMs: 1_004 },
      { name: "illuminance", unit: "lx", value: 0, uptimeMs: 1_111 },
    ],
    uptimeMs: 1_200,
    wallOffsetMs: 1_767_225_600_004,
  },
];

const packs = vectors.map((vector) => {
  const builder = new PackBuilder(200, PACK_MAX_BYTES);
  for (const reading of vector.readings) builder.add(reading);
  return { ...vector, payload: toHex(builder.encode(vector.uptimeMs, vector.wallOffsetMs ?? undefined)) };
});
writeFileSync(new URL("pack.json", import.meta.url), `${JSON.stringify({ packs }, null, 2)}\n`);
