/** What a sensor stands in. */
export interface Conditions {
  readonly temperatureC: number;
  /** relative, 0 to 100 */
  readonly humidityPercent: number;
  readonly pressurePa: number;
}

/** Conditions as a pure function of wall time, so that two runs of one scenario see the same air. */
export interface Surroundings {
  /** `ms` is milliseconds since 1970-01-01T00:00Z. */
  at(ms: number): Conditions;
}
