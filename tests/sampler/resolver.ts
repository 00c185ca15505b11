import { decode } from "cborg";

/** A SenML resolver (RFC 8428 §4) written from the RFC alone, over a foreign CBOR decoder: how others read our packs. */
export interface Resolved {
  readonly name: string;
  readonly unit: string | undefined;
  readonly value: unknown;
  readonly text: unknown;
  readonly timeS: number;
}

/** The labels of §6, table 4. */
const [BVER, BN, BT, BU, BV, BS] = [-1, -2, -3, -4, -5, -6];
const [N, U, V, VS, VB, S, T, UT, VD] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const KNOWN: readonly unknown[] = [BVER, BN, BT, BU, BV, BS, N, U, V, VS, VB, S, T, UT, VD];

/** The resolved records of a pack, in chronological order (§4.6). `nowS` is what relative times count from. */
export function resolve(payload: Uint8Array, nowS: number): Resolved[] {
  const pack: Map<unknown, unknown>[] = decode(payload, {
    useMaps: true,
    strict: true,
    rejectDuplicateMapKeys: true,
  });
  let [baseName, baseTime, baseValue] = ["", 0, 0];
  let baseUnit: string | undefined;
  const resolved = pack.map((record) => {
    for (const label of record.keys()) if (!KNOWN.includes(label)) throw new Error(`label ${label}`);
    if ((record.get(BVER) ?? 10) !== 10) throw new Error("another version of SenML");
    baseName = (record.get(BN) as string | undefined) ?? baseName;
    baseTime = (record.get(BT) as number | undefined) ?? baseTime;
    baseUnit = (record.get(BU) as string | undefined) ?? baseUnit;
    baseValue = (record.get(BV) as number | undefined) ?? baseValue;
    const values = [V, VS, VB, VD].filter((label) => record.has(label));
    if (values.length > 1 || (values.length === 0 && !record.has(S))) throw new Error("not one value (§4.2)");
    const name = baseName + ((record.get(N) as string | undefined) ?? "");
    if (!/^[A-Za-z0-9][-A-Za-z0-9:./_]*$/.test(name)) throw new Error(`name ${name} (§4.5.1)`);
    const time = baseTime + ((record.get(T) as number | undefined) ?? 0);
    return {
      name,
      unit: (record.get(U) as string | undefined) ?? baseUnit,
      value: record.has(V) ? baseValue + (record.get(V) as number) : undefined,
      text: record.get(VS),
      // §4.5.3: values below 2^28 are relative to now.
      timeS: time >= 268_435_456 ? time : nowS + time,
    };
  });
  return resolved.sort((a, b) => a.timeS - b.timeS);
}
