import type { Sensor } from "../sensors/sensor.js";

/** How one ECMA-419 sensor class (§14) is recorded. */
export interface Quantity {
  /** Property of a compound sample, and of `faults`. */
  readonly kind: string;
  /** Property of the class's own sample. */
  readonly property: string;
  /** SenML name without the sensor's own prefix, and SenML unit (RFC 8428 §12.1, RFC 8798 for ppm and ug/m3). */
  readonly name: string;
  readonly unit: string;
  /** Times this, the standard's unit is the recorded one. */
  readonly factor: number;
  /** Step that values are rounded to where the driver names none: a power of two, in the recorded unit. */
  readonly step: number;
  /** Least and greatest value, and RMS noise, of the driver's data sheet, in the recorded unit. */
  readonly range?: readonly [minimum: number, maximum: number];
  readonly noise?: number;
}

const CLASSES: { readonly [sensorClass: string]: Quantity } = {
  Temperature: entry("thermometer", "temperature", "temperature", "Cel", 1, 1 / 128),
  Humidity: entry("hygrometer", "humidity", "humidity", "%RH", 100, 1 / 128),
  AtmosphericPressure: entry("barometer", "pressure", "pressure", "Pa", 1, 1 / 4),
  AmbientLight: entry("lightmeter", "illuminance", "illuminance", "lx", 1, 1 / 8),
  CarbonDioxide: entry("carbonDioxideDetector", "CO2", "co2", "ppm", 1, 1),
  CarbonMonoxide: entry("carbonMonoxideDetector", "CO", "co", "ppm", 1, 1 / 8),
  ParticulateMatter: entry("particulateMatterDetector", "particulateMatter", "particles", "ug/m3", 1, 1 / 8),
  SoilMoisture: entry("soilMoistureDetector", "moisture", "moisture", "/", 1, 1 / 1024),
};

function entry(kind: string, property: string, name: string, unit: string, factor: number, step: number): Quantity {
  return { kind, property, name, unit, factor, step };
}

/** What a sensor's samples hold, by its classification. Throws where a class has no place in a record. */
export function quantitiesOf(sensor: Sensor): readonly Quantity[] {
  const { model, classification } = sensor.identification;
  return classification.split("-").map((sensorClass) => {
    const quantity = CLASSES[sensorClass];
    if (!quantity)
      throw new RangeError(
        `${model}: expected sensor classes out of ${Object.keys(CLASSES).join(", ")}, received ${sensorClass}`,
      );
    const { kind } = quantity;
    const [step, range, noise] = [sensor.resolution?.[kind], sensor.range?.[kind], sensor.noise?.[kind]];
    return {
      ...quantity,
      ...(step !== undefined && { step }),
      ...(range && { range }),
      ...(noise !== undefined && { noise }),
    };
  });
}
