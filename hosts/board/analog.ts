import { onlyFormat } from "./buffers.js";
import { WireFault, type WirePort } from "./wire.js";

export interface AnalogOptions {
  readonly pin: number;
  readonly format?: string;
}

/** ECMA-419 §10.2 Analog over a board's wire. A pin that the world has not wired throws RangeError. */
class WiredAnalog {
  readonly #port: WirePort;
  readonly #pin: number;
  /** Bits of a value. */
  readonly resolution: number;
  #closed = false;

  constructor(port: WirePort, options: AnalogOptions) {
    this.#port = port;
    onlyFormat(options.format, "number");
    this.#pin = pinOf(options.pin);
    try {
      this.resolution = port.analogRead(this.#pin).resolution;
    } catch (error) {
      if (error instanceof WireFault) throw new RangeError(`pin ${options.pin}: ${error.detail}`);
      throw error;
    }
  }

  read(): number {
    if (this.#closed) throw new Error("Analog is closed");
    return this.#port.analogRead(this.#pin).value;
  }

  close(): void {
    this.#closed = true;
  }

  get format(): string {
    return "number";
  }
  set format(value: string) {
    onlyFormat(value, "number");
  }
}

/** The Analog class of one board. */
export function analogOver(port: WirePort) {
  return class Analog extends WiredAnalog {
    constructor(options: AnalogOptions) {
      super(port, options);
    }
  };
}

export function pinOf(pin: unknown): number {
  if (typeof pin !== "number" || !Number.isInteger(pin) || pin < 0 || pin > 255)
    throw new RangeError(`pin: expected 0 to 255, got ${String(pin)}`);
  return pin;
}
