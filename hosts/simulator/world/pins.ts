/** Pins of a board as the world wires them: voltages on analog inputs, levels on digital ones. */

/** A voltage as a fraction of full scale, 0 to 1, at the time of reading. */
export type AnalogSource = () => number;

/** Bits of the converter, those of an ESP32-C3's. */
export const ANALOG_RESOLUTION_BITS = 12;

export class Pins {
  readonly #analog = new Map<number, AnalogSource>();
  readonly #levels = new Map<number, 0 | 1>();
  /** Told when an input's level changes; set by the start that runs. */
  onEdge: ((pin: number, level: 0 | 1) => void) | undefined;

  wireAnalog(pin: number, source: AnalogSource): void {
    this.#analog.set(pin, source);
  }

  /** The converter's value; undefined where nothing is wired. */
  analog(pin: number): number | undefined {
    const source = this.#analog.get(pin);
    if (source === undefined) return undefined;
    const most = 2 ** ANALOG_RESOLUTION_BITS - 1;
    return Math.min(Math.max(Math.round(source() * most), 0), most);
  }

  /** What the world puts on a digital pin. */
  setLevel(pin: number, level: 0 | 1): void {
    if (this.level(pin) === level) return;
    this.#levels.set(pin, level);
    this.onEdge?.(pin, level);
  }

  /** What the board drives on a digital pin: no edge for itself. */
  drive(pin: number, level: 0 | 1): void {
    this.#levels.set(pin, level);
  }

  /** An undriven pin reads low, one with a pull-up high. */
  level(pin: number, pulledUp = false): 0 | 1 {
    return this.#levels.get(pin) ?? (pulledUp ? 1 : 0);
  }
}
