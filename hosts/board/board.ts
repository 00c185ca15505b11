import { fromUtf8 } from "tallystick/bytes/bytes";
import { analogOver } from "./analog.js";
import { digitalOver, type EdgeListener } from "./digital.js";
import { FlashStorage } from "./flash.js";
import { i2cOver } from "./i2c.js";
import { KeyValueStorage } from "./key-value.js";
import { smbusOver } from "./smbus.js";
import { sdkTimersOver } from "./timer.js";
import { BoardTimers } from "./timers.js";
import { BoardTransport } from "./transport.js";
import { EventKind, u16, u32, type Wire, WirePort } from "./wire.js";

/** One simulated board: the wire's port, the parts that the embedded:* modules export, and the events that reach them. */
export class Board {
  readonly port: WirePort;
  readonly timers: BoardTimers;
  /** The SDK's `timer` module. */
  readonly Timer: ReturnType<typeof sdkTimersOver>;
  readonly transport: BoardTransport;
  readonly I2C: ReturnType<typeof i2cOver>;
  readonly SMBus: ReturnType<typeof smbusOver>;
  readonly Analog: ReturnType<typeof analogOver>;
  readonly Digital: ReturnType<typeof digitalOver>;
  readonly flash: FlashStorage;
  readonly keyValue: KeyValueStorage;
  readonly #edges = new Set<EdgeListener>();

  constructor(wire: Wire) {
    this.port = new WirePort(wire);
    this.timers = new BoardTimers(this.port);
    this.Timer = sdkTimersOver(this.timers);
    this.transport = new BoardTransport(this.port);
    this.I2C = i2cOver(this.port);
    this.SMBus = smbusOver(this.I2C);
    this.Analog = analogOver(this.port);
    this.Digital = digitalOver(this.port, this.#edges);
    this.flash = new FlashStorage(this.port);
    this.keyValue = new KeyValueStorage(this.port);
  }

  /** One event of WIRE.md. What throws in here ends the start as a crash. */
  onEvent(event: Uint8Array): void {
    switch (event[0]) {
      case EventKind.timer:
        this.timers.run();
        return;
      case EventKind.response: {
        const detail = fromUtf8(event.subarray(10)) ?? "?";
        this.transport.settle(u16(event, 1), event[3]!, u16(event, 4), u32(event, 6), detail);
        return;
      }
      case EventKind.edge:
        for (const listener of this.#edges) if (listener.pin === event[1]) listener.onEdge();
        return;
      default:
        throw new Error(`unknown event ${event[0]}`);
    }
  }
}
