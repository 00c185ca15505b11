/**
 * From the BME280's raw numbers to units: Bosch BME280 data sheet (BST-BME280-DS002) §4.2.2 (trimming words) and
 * appendix §8.1 (compensation in double precision). Doubles because XS has no 64-bit integers but BigInt, which
 * allocates, and because the 32-bit integer version loses up to 8 Pa; the formulas use + − × ÷ alone, whose results
 * IEEE 754 fixes to the last bit, so every engine gives the same number.
 */

/** The 18 trimming words, named as in the data sheet. */
export interface Calibration {
  readonly T1: number;
  readonly T2: number;
  readonly T3: number;
  readonly P1: number;
  readonly P2: number;
  readonly P3: number;
  readonly P4: number;
  readonly P5: number;
  readonly P6: number;
  readonly P7: number;
  readonly P8: number;
  readonly P9: number;
  readonly H1: number;
  readonly H2: number;
  readonly H3: number;
  readonly H4: number;
  readonly H5: number;
  readonly H6: number;
}

/** Bytes in the two trimming blocks, at 0x88 and 0xE1. */
export const LOW_BLOCK_BYTES = 26;
export const HIGH_BLOCK_BYTES = 7;

/** The trimming words out of registers 0x88…0xA1 and 0xE1…0xE7 (data sheet table 16). */
export function readCalibration(low: Uint8Array, high: Uint8Array): Calibration {
  const a = new DataView(low.buffer, low.byteOffset, LOW_BLOCK_BYTES);
  const b = new DataView(high.buffer, high.byteOffset, HIGH_BLOCK_BYTES);
  return {
    T1: a.getUint16(0, true),
    T2: a.getInt16(2, true),
    T3: a.getInt16(4, true),
    P1: a.getUint16(6, true),
    P2: a.getInt16(8, true),
    P3: a.getInt16(10, true),
    P4: a.getInt16(12, true),
    P5: a.getInt16(14, true),
    P6: a.getInt16(16, true),
    P7: a.getInt16(18, true),
    P8: a.getInt16(20, true),
    P9: a.getInt16(22, true),
    H1: a.getUint8(25),
    H2: b.getInt16(0, true),
    H3: b.getUint8(2),
    // H4 and H5 are 12 bits, signed, and share 0xE5: H4 has its low nibble, H5 its high one.
    H4: b.getInt8(3) * 16 + (b.getUint8(4) & 15),
    H5: b.getInt8(5) * 16 + (b.getUint8(4) >> 4),
    H6: b.getInt8(6),
  };
}

/** False for blank memory and for words that the formulas would divide by zero with. */
export function plausible(calibration: Calibration): boolean {
  const { T1, T2, P1, H2 } = calibration;
  return T1 !== 0 && T1 !== 0xffff && T2 !== 0 && P1 !== 0 && P1 !== 0xffff && H2 !== 0 && H2 !== -1;
}

/**
 * Degrees Celsius, with the fine temperature that the other two formulas need. Its fraction is kept: the data sheet's
 * program cuts it off, its worked example (BMP280 data sheet §3.12, 100653.27 Pa) does not.
 */
export function temperatureOf(raw: number, c: Calibration): { readonly celsius: number; readonly fine: number } {
  const a = (raw / 16384 - c.T1 / 1024) * c.T2;
  const b = raw / 131072 - c.T1 / 8192;
  const sum = a + b * b * c.T3;
  return { celsius: sum / 5120, fine: sum };
}

/** Pascal; NaN where the words make the divisor zero. */
export function pressureOf(raw: number, fine: number, c: Calibration): number {
  const f = fine / 2 - 64000;
  const offset = (f * f * c.P6) / 32768 + f * c.P5 * 2;
  const offset4 = offset / 4 + c.P4 * 65536;
  const slope = ((c.P3 * f * f) / 524288 + c.P2 * f) / 524288;
  const divisor = (1 + slope / 32768) * c.P1;
  if (divisor === 0) return Number.NaN;
  const p = ((1048576 - raw - offset4 / 4096) * 6250) / divisor;
  return p + ((c.P9 * p * p) / 2147483648 + (p * c.P8) / 32768 + c.P7) / 16;
}

/** Percent relative humidity, 0 to 100: the data sheet's formula ends in these bounds. */
export function humidityOf(raw: number, fine: number, c: Calibration): number {
  const f = fine - 76800;
  const gain = (c.H2 / 65536) * (1 + (c.H6 / 67108864) * f * (1 + (c.H3 / 67108864) * f));
  const linear = (raw - (c.H4 * 64 + (c.H5 / 16384) * f)) * gain;
  const percent = linear * (1 - (c.H1 * linear) / 524288);
  return Math.min(Math.max(percent, 0), 100);
}
