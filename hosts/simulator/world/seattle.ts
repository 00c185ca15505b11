import type { Conditions, Surroundings } from "./surroundings.js";

/**
 * Seattle's weather for any wall time, as a pure function of it: two runs of one scenario see the same air.
 *
 * Data (npm's vega-datasets, from NOAA NCDC):
 * - `seattle-weather.csv`: lowest and highest temperature of each day of 2012 to 2015, as recorded;
 * - `seattle-weather-hourly-normals.csv`: temperature and sea-level pressure for each hour of a year. These are normals,
 *   averages over 1981 to 2010, and no recording of one year, though their dates say 2010.
 *
 * Model, ours:
 * - the course of a day between its recorded extremes is that of the hour's normal, stretched to them;
 * - between the hours runs a monotone cubic (M. Steffen, Astronomy and Astrophysics 239, 1990, p. 443), which never
 *   goes beyond the values that it joins;
 * - pressure is the normal, so no front ever passes; height by the standard atmosphere (ISO 2533);
 * - humidity is not in the data: vapour pressure is that of saturation at the day's lowest temperature (FAO-56,
 *   equations 11 and 48);
 * - rooms follow the outdoor temperature as a first-order lag (`SiteAir`), solved in closed form on each cubic.
 *
 * The four years hold one leap day, so 1,461 days bring every date from 1901 to 2099 onto its own month and day.
 */

/** The two files as text. */
export interface WeatherRecords {
  readonly daily: string;
  readonly hourlyNormals: string;
}

/** The air where a sensor stands. The constants of `SITES` are plausible, not measured. */
export interface SiteAir {
  /** Time constant of the building or the air in it; 0 is outdoors. */
  readonly lagHours: number;
  /** Warmer than the lagged outdoor temperature by. */
  readonly warmerC: number;
  /** Vapour pressure above that outdoors, by what evaporates inside. */
  readonly vapourPa: number;
  /** Above the sea. */
  readonly heightM: number;
}

export const SITES = {
  outdoors: { lagHours: 0, warmerC: 0, vapourPa: 0, heightM: 60 },
  attic: { lagHours: 4, warmerC: 4, vapourPa: 0, heightM: 68 },
  cellar: { lagHours: 480, warmerC: 3, vapourPa: 150, heightM: 57 },
  greenhouse: { lagHours: 1.5, warmerC: 6, vapourPa: 400, heightM: 60 },
} as const satisfies Record<string, SiteAir>;
export type Site = keyof typeof SITES;

const FIRST_DAY_MS = Date.UTC(2012, 0, 1);
const DAYS = 1461;
const HOURS = DAYS * 24;
const HOUR_MS = 3_600_000;
/** Pacific Standard Time, all year: the records' days are local ones. */
const UTC_OFFSET_HOURS = -8;

export class Weather {
  readonly #temperature: Curve;
  readonly #vapour: Curve;
  readonly #pressure: Curve;
  readonly #lagged = new Map<number, Lagged>();

  /** Throws where a text is not the file that it should be. */
  constructor(records: WeatherRecords) {
    const days = readDays(records.daily);
    const normals = readNormals(records.hourlyNormals);
    const extremes = extremesOf(days, normals);
    const temperature = temperaturesBetween(extremes, normals);
    this.#temperature = new Curve(temperature);
    this.#vapour = new Curve(vapourPressures(extremes, temperature));
    this.#pressure = new Curve(Float64Array.from({ length: HOURS }, (_, hour) => normals[hourOfYear(hour)]!.hPa * 100));
  }

  /** Conditions at a site, by name or by its own constants. */
  at(site: Site | SiteAir): Surroundings {
    const { lagHours, warmerC, vapourPa, heightM } = typeof site === "string" ? SITES[site] : site;
    const temperature = lagHours > 0 ? this.#lag(lagHours) : this.#temperature;
    // ISO 2533, troposphere.
    const heightFactor = (1 - 2.25577e-5 * heightM) ** 5.25588;
    return {
      at: (ms): Conditions => {
        const hours = (ms - FIRST_DAY_MS) / HOUR_MS + UTC_OFFSET_HOURS;
        const temperatureC = temperature.at(hours) + warmerC;
        const percent = (100 * (this.#vapour.at(hours) + vapourPa)) / saturationPa(temperatureC);
        return {
          temperatureC,
          humidityPercent: Math.min(percent, 100),
          pressurePa: this.#pressure.at(hours) * heightFactor,
        };
      },
    };
  }

  #lag(lagHours: number): Lagged {
    let lagged = this.#lagged.get(lagHours);
    if (!lagged) {
      lagged = new Lagged(this.#temperature, lagHours);
      this.#lagged.set(lagHours, lagged);
    }
    return lagged;
  }
}

/** FAO Irrigation and Drainage Paper 56, equation 11. */
export function saturationPa(celsius: number): number {
  return 610.8 * Math.exp((17.27 * celsius) / (celsius + 237.3));
}

interface Day {
  readonly lowC: number;
  readonly highC: number;
}

interface Normal {
  readonly celsius: number;
  readonly hPa: number;
}

function readDays(text: string): Day[] {
  const days = rows(text, "date,precipitation,temp_max,temp_min,wind,weather").map((cells, index) => {
    const date = new Date(FIRST_DAY_MS + index * 24 * HOUR_MS).toISOString().slice(0, 10);
    if (cells[0] !== date) throw new Error(`daily weather: expected ${date}, received ${cells[0]}`);
    return { lowC: number(cells[3]), highC: number(cells[2]) };
  });
  if (days.length !== DAYS) throw new Error(`daily weather: expected ${DAYS} days, received ${days.length}`);
  return days;
}

/** By hour of a common year. The file lacks the first hour of the year: it is the mean of its neighbours. */
function readNormals(text: string): Normal[] {
  const normals: Normal[] = new Array(8760);
  for (const [date, hPa, celsius] of rows(text, "date,pressure,temperature,wind")) {
    const hour = (Date.parse(`${date}Z`) - Date.UTC(2010, 0, 1)) / HOUR_MS;
    normals[hour] = { celsius: number(celsius), hPa: number(hPa) };
  }
  const [next, last] = [normals[1], normals[8759]];
  if (next && last) normals[0] ??= { celsius: (next.celsius + last.celsius) / 2, hPa: (next.hPa + last.hPa) / 2 };
  for (let hour = 0; hour < 8760; hour++)
    if (!normals[hour]) throw new Error(`hourly normals: hour ${hour} is missing`);
  if (normals.length !== 8760) throw new Error(`hourly normals: expected 8,760 hours, received ${normals.length}`);
  return normals;
}

function rows(text: string, header: string): string[][] {
  const [first, ...lines] = text.trim().split(/\r?\n/);
  if (first !== header) throw new Error(`weather file: expected the columns ${header}, received ${first}`);
  return lines.map((line) => line.split(","));
}

function number(cell: string | undefined): number {
  const value = Number(cell);
  if (!cell || !Number.isFinite(value)) throw new Error(`weather file: expected a number, received ${cell}`);
  return value;
}

/** The hour of a common year on the same month and day; 29 February is 28 February. */
function hourOfYear(hour: number): number {
  const date = new Date(FIRST_DAY_MS + hour * HOUR_MS);
  const day = date.getUTCMonth() === 1 && date.getUTCDate() === 29 ? 28 : date.getUTCDate();
  return (Date.UTC(2010, date.getUTCMonth(), day, date.getUTCHours()) - Date.UTC(2010, 0, 1)) / HOUR_MS;
}

/** A recorded extreme, put on the hour that has it by the normals. */
interface Extreme {
  readonly hour: number;
  readonly celsius: number;
  readonly normalC: number;
}

/** Low and high of each day in turn: the low on the coolest hour before noon, the high on the warmest after it. */
function extremesOf(days: readonly Day[], normals: readonly Normal[]): Extreme[] {
  return days.flatMap(({ lowC, highC }, day) => {
    const celsius = Array.from({ length: 24 }, (_, hour) => normals[hourOfYear(day * 24 + hour)]!.celsius);
    const low = celsius.indexOf(Math.min(...celsius.slice(0, 12)));
    const high = celsius.indexOf(Math.max(...celsius.slice(12)), 12);
    return [
      { hour: day * 24 + low, celsius: lowC, normalC: celsius[low]! },
      { hour: day * 24 + high, celsius: highC, normalC: celsius[high]! },
    ];
  });
}

function temperaturesBetween(extremes: readonly Extreme[], normals: readonly Normal[]): Float64Array {
  const celsius = new Float64Array(HOURS);
  for (const [i, from] of extremes.entries()) {
    const to = extremes[(i + 1) % extremes.length]!;
    const hours = (to.hour - from.hour + HOURS) % HOURS;
    for (let h = 0; h < hours; h++) {
      const hour = (from.hour + h) % HOURS;
      const share = (normals[hourOfYear(hour)]!.celsius - from.normalC) / (to.normalC - from.normalC);
      celsius[hour] = from.celsius + Math.min(Math.max(share, 0), 1) * (to.celsius - from.celsius);
    }
  }
  return celsius;
}

/** FAO-56 equation 48 at the hour of each day's low, linear in between, never above saturation. */
function vapourPressures(extremes: readonly Extreme[], temperature: Float64Array): Float64Array {
  const lows = extremes.filter((_, i) => i % 2 === 0);
  const pascal = new Float64Array(HOURS);
  for (const [i, from] of lows.entries()) {
    const to = lows[(i + 1) % lows.length]!;
    const [start, end] = [saturationPa(from.celsius), saturationPa(to.celsius)];
    const hours = (to.hour - from.hour + HOURS) % HOURS;
    for (let h = 0; h < hours; h++) {
      const hour = (from.hour + h) % HOURS;
      pascal[hour] = Math.min(start + ((end - start) * h) / hours, saturationPa(temperature[hour]!));
    }
  }
  return pascal;
}

/** A periodic monotone cubic through hourly values (Steffen 1990). */
class Curve {
  readonly #slopes: Float64Array;

  constructor(readonly values: Float64Array) {
    this.#slopes = values.map((value, i) => {
      const before = value - values[(i + values.length - 1) % values.length]!;
      const after = values[(i + 1) % values.length]! - value;
      const least = Math.min(Math.abs(before), Math.abs(after), Math.abs(before + after) / 4);
      return (Math.sign(before) + Math.sign(after)) * least;
    });
  }

  /** Coefficients a + b·u + c·u² + d·u³ of the hour that begins at knot `i`, for u in hours from it. */
  cubic(i: number): readonly [number, number, number, number] {
    const next = (i + 1) % this.values.length;
    const rise = this.values[next]! - this.values[i]!;
    const [start, end] = [this.#slopes[i]!, this.#slopes[next]!];
    return [this.values[i]!, start, 3 * rise - 2 * start - end, start + end - 2 * rise];
  }

  at(hours: number): number {
    const [i, u] = knot(hours, this.values.length);
    const [a, b, c, d] = this.cubic(i);
    return a + u * (b + u * (c + u * d));
  }
}

/**
 * The periodic solution of y′ = (x − y) / τ for a curve x. On each hour x is a cubic, so y is p(u) + (y₀ − p(0))·e^(−u/τ)
 * with p = x − τ·x′ + τ²·x″ − τ³·x‴: no step size, no history.
 */
class Lagged {
  readonly #values: Float64Array;

  constructor(
    private readonly curve: Curve,
    private readonly lagHours: number,
  ) {
    const count = curve.values.length;
    this.#values = new Float64Array(count);
    const decay = Math.exp(-1 / lagHours);
    const turn = (start: number) => {
      let y = start;
      for (let i = 0; i < count; i++) {
        this.#values[i] = y;
        y = this.#particular(i, 1) + (y - this.#particular(i, 0)) * decay;
      }
      return y;
    };
    // One turn is affine in its start with the factor decay^count: its fixed point is the start of the periodic solution.
    turn(turn(0) / (1 - decay ** count));
  }

  at(hours: number): number {
    const [i, u] = knot(hours, this.#values.length);
    return this.#particular(i, u) + (this.#values[i]! - this.#particular(i, 0)) * Math.exp(-u / this.lagHours);
  }

  #particular(i: number, u: number): number {
    const [a, b, c, d] = this.curve.cubic(i);
    const tau = this.lagHours;
    return (
      a + u * (b + u * (c + u * d)) - tau * (b + u * (2 * c + u * 3 * d) - tau * (2 * c + 6 * d * u - tau * 6 * d))
    );
  }
}

function knot(hours: number, count: number): [index: number, past: number] {
  const whole = Math.floor(hours);
  return [((whole % count) + count) % count, hours - whole];
}
