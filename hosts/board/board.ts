import { fromUtf8 } from "tallystick/bytes/bytes";
import { analogOver } from "./analog.js";
import { digitalOver, type EdgeListener } from "./digital.js";
import { FlashStorage } from "./flash.js";
import { type BoardI2CConstructor, i2cOver } from "./i2c.js";
import { KeyValueStorage } from "./key-value.js";
import { smbusOver } from "./smbus.js";
import { SDKTimers } from "./timer.js";
import { BoardTimers } from "./timers.js";
import { BoardTransport } from "./transport.js";
import { EventKind, NO_RETRY_AFTER, u16, u32, type Wire, WirePort, WireResponse } from "./wire.js";

/**
 * One simulated board: the wire's port, the parts that the embedded:* modules export, and the events that reach them.
 * What an application does not use is never made: a board has 94 KB.
 */
export class Board {
  readonly port: WirePort;
  readonly timers: BoardTimers;
  readonly transport: BoardTransport;
  readonly #edges = new Set<EdgeListener>();
  #I2C: BoardI2CConstructor | undefined;
  #SMBus: ReturnType<typeof smbusOver> | undefined;
  #Analog: ReturnType<typeof analogOver> | undefined;
  #Digital: ReturnType<typeof digitalOver> | undefined;

  constructor(wire: Wire) {
    this.port = new WirePort(wire);
    this.timers = new BoardTimers(this.port);
    this.transport = new BoardTransport(this.port);
  }

  get I2C(): BoardI2CConstructor {
    this.#I2C ??= i2cOver(this.port);
    return this.#I2C;
  }

  get SMBus(): ReturnType<typeof smbusOver> {
    this.#SMBus ??= smbusOver(this.I2C);
    return this.#SMBus;
  }

  get Analog(): ReturnType<typeof analogOver> {
    this.#Analog ??= analogOver(this.port);
    return this.#Analog;
  }

  get Digital(): ReturnType<typeof digitalOver> {
    this.#Digital ??= digitalOver(this.port, this.#edges);
    return this.#Digital;
  }

  get flash(): FlashStorage {
    return new FlashStorage(this.port);
  }

  get keyValue(): KeyValueStorage {
    return new KeyValueStorage(this.port);
  }

  /** The SDK's `timer` module. */
  get Timer(): SDKTimers {
    return new SDKTimers(this.timers);
  }

  /** One event of WIRE.md, but for `timer`. */
  onEvent(event: Uint8Array): void {
    if (event[0] === EventKind.response) this.#onResponse(event);
    else if (event[0] === EventKind.edge) this.#onEdge(event[1]!);
    else throw new Error(`unknown event ${event[0]}`);
  }

  #onResponse(event: Uint8Array): void {
    const retryAfterS = u32(event, WireResponse.retryAfter);
    this.transport.settle(u16(event, WireResponse.request), {
      outcome: event[WireResponse.outcome]!,
      status: u16(event, WireResponse.status),
      length: u32(event, WireResponse.length),
      retryAfterS: retryAfterS === NO_RETRY_AFTER ? undefined : retryAfterS,
      detail: fromUtf8(event.subarray(WireResponse.detail)) ?? "?",
    });
  }

  #onEdge(pin: number): void {
    for (const listener of this.#edges) if (listener.pin === pin) listener.onEdge();
  }
}
