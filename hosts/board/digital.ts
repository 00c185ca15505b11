import { pinOf } from "./analog.js";
import { onlyFormat } from "./buffers.js";
import { Status, WireFault, type WirePort } from "./wire.js";

export interface DigitalOptions {
  readonly pin: number;
  readonly mode: number;
  /** Digital.Rising and Digital.Falling, or-ed; needed with `onReadable`. */
  readonly edge?: number;
  readonly onReadable?: () => void;
  readonly initialValue?: 0 | 1;
  readonly format?: string;
  readonly target?: unknown;
}

const MODES = [0, 1, 2, 3, 8, 9];
const OUTPUT = 8;

/** What of an open input the `edge` event calls. */
export interface EdgeListener {
  readonly pin: number;
  onEdge(): void;
}

/**
 * ECMA-419 §10.1 Digital over a board's wire. The constructor throws RangeError where an option is not valid, and Error
 * where the pin is open already. `listeners` is told of inputs that want edges.
 */
class WiredDigital implements EdgeListener {
  static readonly Input = 0;
  static readonly InputPullUp = 1;
  static readonly InputPullDown = 2;
  static readonly InputPullUpDown = 3;
  static readonly Output = 8;
  static readonly OutputOpenDrain = 9;
  static readonly Rising = 1;
  static readonly Falling = 2;

  readonly #port: WirePort;
  readonly #listeners: Set<EdgeListener>;
  readonly pin: number;
  readonly #onReadable: (() => void) | undefined;
  #closed = false;
  target: unknown;

  constructor(port: WirePort, listeners: Set<EdgeListener>, options: DigitalOptions) {
    this.#port = port;
    this.#listeners = listeners;
    onlyFormat(options.format, "number");
    this.pin = pinOf(options.pin);
    if (!MODES.includes(options.mode)) throw new RangeError(`mode: expected one of ${MODES}, got ${options.mode}`);
    const input = options.mode < OUTPUT;
    const edges = input && options.onReadable !== undefined ? (options.edge ?? 0) : 0;
    if (input && options.onReadable !== undefined && (edges < 1 || edges > 3))
      throw new RangeError(`edge: expected rising, falling or both with onReadable, got ${edges}`);
    try {
      port.digitalOpen(this.pin, options.mode, edges);
    } catch (error) {
      if (error instanceof WireFault && error.status === Status.busy) throw new Error(`pin ${this.pin} is in use`);
      if (error instanceof WireFault) throw new RangeError(`pin ${this.pin}: ${error.detail}`);
      throw error;
    }
    this.target = options.target;
    this.#onReadable = edges === 0 ? undefined : options.onReadable;
    if (this.#onReadable !== undefined) listeners.add(this);
    if (!input && options.initialValue !== undefined) port.digitalWrite(this.pin, options.initialValue);
  }

  read(): 0 | 1 {
    this.#mustBeOpen();
    return this.#port.digitalRead(this.pin);
  }

  write(value: number | boolean): void {
    this.#mustBeOpen();
    this.#port.digitalWrite(this.pin, Number(value) === 0 ? 0 : 1);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.delete(this);
    this.#port.digitalClose(this.pin);
  }

  onEdge(): void {
    this.#onReadable?.call(this);
  }

  get format(): string {
    return "number";
  }
  set format(value: string) {
    onlyFormat(value, "number");
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new Error("Digital is closed");
  }
}

/** The Digital class of one board. */
export function digitalOver(port: WirePort, listeners: Set<EdgeListener>) {
  return class Digital extends WiredDigital {
    constructor(options: DigitalOptions) {
      super(port, listeners, options);
    }
  };
}
