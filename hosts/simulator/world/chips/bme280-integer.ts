/**
 * The BME280's compensation in 32- and 64-bit integers, as the data sheet (BST-BME280-DS002 §4.2.3) has it beside the
 * double version. The simulated chip finds its raw numbers by it, on purpose not by the driver's code: a mistake in
 * either shows as a reading that is off.
 */

/** Trimming words in the data sheet's order (table 16). */
export interface Trimming {
  /** T1 to T3. */
  readonly T: readonly [number, number, number];
  /** P1 to P9. */
  readonly P: readonly [number, number, number, number, number, number, number, number, number];
  /** H1 to H6. */
  readonly H: readonly [number, number, number, number, number, number];
}

/** The fine temperature; (fine × 5 + 128) >> 8 is hundredths of a degree Celsius. */
export function fineTemperature(raw: number, { T: [t1, t2, t3] }: Trimming): number {
  const a = (((raw >> 3) - (t1 << 1)) * t2) >> 11;
  const b = (raw >> 4) - t1;
  // Up to 32 bits times 15: exact as a double, then shifted as 32 bits.
  return a + Math.floor((((b * b) >> 12) * t3) / 16384);
}

/** 1/256 Pa. */
export function pressure256(raw: number, fine: number, { P }: Trimming): number {
  const [p1, p2, p3, p4, p5, p6, p7, p8, p9] = P.map(BigInt) as [
    ...[bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint],
  ];
  let a = BigInt(fine) - 128000n;
  let b = a * a * p6 + ((a * p5) << 17n) + (p4 << 35n);
  a = ((a * a * p3) >> 8n) + ((a * p2) << 12n);
  a = (((1n << 47n) + a) * p1) >> 33n;
  if (a === 0n) return 0;
  let p = ((((1048576n - BigInt(raw)) << 31n) - b) * 3125n) / a;
  a = (p9 * (p >> 13n) * (p >> 13n)) >> 25n;
  b = (p8 * p) >> 19n;
  p = ((p + a + b) >> 8n) + (p7 << 4n);
  return Number(p);
}

/** 1/1024 %RH. */
export function humidity1024(raw: number, fine: number, { H }: Trimming): number {
  const [h1, h2, h3, h4, h5, h6] = H.map(BigInt) as [bigint, bigint, bigint, bigint, bigint, bigint];
  const f = BigInt(fine) - 76800n;
  const linear = ((BigInt(raw) << 14n) - (h4 << 20n) - h5 * f + 16384n) >> 15n;
  const gain = ((((((f * h6) >> 10n) * (((f * h3) >> 11n) + 32768n)) >> 10n) + 2097152n) * h2 + 8192n) >> 14n;
  let h = linear * gain;
  h -= ((((h >> 15n) * (h >> 15n)) >> 7n) * h1) >> 4n;
  if (h < 0n) h = 0n;
  if (h > 419430400n) h = 419430400n;
  return Number(h >> 12n);
}

/** The raw number in 0…`most` whose value is nearest to `target`; `value` must rise, or fall, all the way. */
export function rawFor(target: number, most: number, value: (raw: number) => number): number {
  const rises = value(most) > value(0);
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(middle) < target === rises) low = middle + 1;
    else high = middle;
  }
  return low > 0 && Math.abs(value(low - 1) - target) < Math.abs(value(low) - target) ? low - 1 : low;
}
