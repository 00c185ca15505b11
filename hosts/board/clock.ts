import type { Clock, ClockState } from "tallystick/clock/clock";
import { ClockState as State } from "tallystick/clock/clock";
import type { WirePort } from "./wire.js";

/** The board's clock: the world keeps it, as a crystal and a retained register would. */
export class BoardClock implements Clock {
  readonly #port: WirePort;

  constructor(port: WirePort) {
    this.#port = port;
  }

  uptimeMs(): number {
    return this.#port.clock().uptimeMs;
  }

  wallMs(): number | undefined {
    const { state, wallMs } = this.#port.clock();
    return state === State.unset ? undefined : wallMs;
  }

  get state(): ClockState {
    return this.#port.clock().state as ClockState;
  }

  set(wallMs: number, state: ClockState): void {
    this.#port.setClock(wallMs, state);
  }
}
