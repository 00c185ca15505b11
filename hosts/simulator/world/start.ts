import { ClockState } from "tallystick/clock/clock";
import { FlashError } from "tallystick/journal/flash";
import { EventKind, Operation, Status, WireLimit } from "../../board/wire.js";
import { PowerCut } from "../board.js";
import { type EFuses, GENERATION_FUSES } from "./efuse.js";
import {
  atLeast,
  between,
  exactly,
  most,
  name,
  nameIn,
  namesReply,
  okReply,
  Refusal,
  refusalReply,
  responseEvent,
  u16Bytes,
  u64,
} from "./messages.js";
import { ANALOG_RESOLUTION_BITS } from "./pins.js";
import type { FlashCells, TearableCells, World } from "./world.js";

/** How a start ended by the board's own will or by the power, as far as the wire saw it. */
export type StartEnd =
  | { readonly kind: "restart" }
  | { readonly kind: "sleep"; readonly durationMs: number }
  | { readonly kind: "power-cut" };

/** Thrown out of the wire by `restart` and `sleep`, which do not return. */
export class StartEnded extends Error {
  override name = "StartEnded";
  constructor(readonly end: StartEnd) {
    super(`the start ended: ${end.kind}`);
  }
}

export interface StartOptions {
  readonly resetReason: number;
  /** World time that the board's uptime counts from: that of the start, or before a deep sleep. */
  readonly uptimeFromMs: number;
  /** Delivers an event to the board when it is idle; resolves when the board is idle again. Never rejects. */
  readonly deliver: (event: Uint8Array) => Promise<void>;
  readonly onPrint: (line: string) => void;
}

/** Flash pages: the most that one program reaches. */
const PAGE_BYTES = 256;

interface Request {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly maxResponseBytes: number;
  readonly body: Uint8Array;
  received: number;
  readonly abort: AbortController;
  response: Uint8Array | undefined;
}

type Handler = (request: Buffer) => Uint8Array | undefined;

/** One start of a board in its world, from power or reset to the end: it answers the wire's calls (WIRE.md). */
export class Start {
  readonly #world: World;
  readonly #options: StartOptions;
  readonly #retained: boolean;
  readonly #pins = new Map<number, { readonly mode: number; readonly edges: number }>();
  readonly #requests = new Map<number, Request>();
  #lastRequest = 0;
  #clockState: number;
  #cancelWake: (() => void) | undefined;
  /** Set when the start is over; the wire answers nothing from then on. */
  end: StartEnd | undefined;
  #closed = false;

  constructor(world: World, options: StartOptions) {
    this.#world = world;
    this.#options = options;
    this.#retained = world.clock !== undefined;
    this.#clockState = this.#retained ? ClockState.retained : ClockState.unset;
    world.pins.onEdge = (pin, level) => this.#onEdge(pin, level);
  }

  uptimeMs(): number {
    return this.#world.time.nowMs() - this.#options.uptimeFromMs;
  }

  /** Number of requests that the network works on. */
  get requestsUnderWay(): number {
    return this.#requests.size;
  }

  /** The wire's other end. Throws PowerCut or StartEnded where a call does not return. */
  readonly call = (operation: number, request: Uint8Array): Uint8Array => {
    if (this.#closed || this.end !== undefined) throw new StartEnded(this.end ?? { kind: "power-cut" });
    const engine = this.#engineOperation(operation);
    if (engine !== undefined) return engine;
    try {
      const handler = this.#handlers[operation];
      if (handler === undefined) throw new Refusal(Status.unknown, `operation ${operation}`);
      return okReply(handler(Buffer.from(request.buffer, request.byteOffset, request.byteLength)));
    } catch (error) {
      if (error instanceof Refusal) return refusalReply(error.status, error.message);
      // The board's own FlashError says operation and offset again.
      if (error instanceof FlashError)
        return refusalReply(Status.fault, error.message.replace(/^flash \w+ at \d+: /, ""));
      if (error instanceof PowerCut) this.end = { kind: "power-cut" };
      throw error;
    }
  };

  /** Releases timers, requests and pins. Nothing is delivered from then on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelWake?.();
    for (const request of this.#requests.values()) request.abort.abort();
    this.#requests.clear();
    this.#world.pins.onEdge = undefined;
  }

  readonly #handlers: Readonly<Record<number, Handler>> = {
    [Operation.print]: (request) => {
      most("line", request.length, WireLimit.line);
      this.#options.onPrint(request.toString("utf8"));
      return undefined;
    },

    [Operation.boot]: (request) => {
      exactly(request, 0);
      const { model, firmware, chip } = this.#world;
      const version = Buffer.from(firmware.version);
      const head = Buffer.alloc(34);
      head[0] = this.#options.resetReason;
      head.set(firmware.sha256, 1);
      head[33] = version.length;
      return Buffer.concat([head, version, Buffer.of(chip.length), chip, Buffer.from(model)]);
    },

    [Operation.clock]: (request) => {
      exactly(request, 0);
      const reply = Buffer.alloc(17);
      reply.writeBigUInt64LE(BigInt(this.uptimeMs()), 0);
      reply[8] = this.#clockState;
      reply.writeBigUInt64LE(BigInt(this.#world.boardWallMs() ?? 0), 9);
      return reply;
    },

    [Operation.setClock]: (request) => {
      exactly(request, 9);
      const state = request[8]!;
      if (state < ClockState.retained || state > ClockState.relay)
        throw new Refusal(Status.range, `clock state: expected 1 to 3, got ${state}`);
      this.#world.clock = { setAtMs: this.#world.time.nowMs(), wallMs: u64(request, 0) };
      this.#clockState = state;
      return undefined;
    },

    [Operation.wake]: (request) => {
      exactly(request, 8);
      this.#cancelWake?.();
      this.#cancelWake = undefined;
      if (request.every((byte) => byte === 0xff)) return undefined;
      this.#cancelWake = this.#world.time.at(this.#options.uptimeFromMs + u64(request, 0), () => {
        this.#cancelWake = undefined;
        return this.#deliver(Uint8Array.of(EventKind.timer));
      });
      return undefined;
    },

    [Operation.entropy]: (request) => {
      exactly(request, 2);
      const length = request.readUInt16LE(0);
      between("entropy", length, 1, WireLimit.entropy);
      return this.#world.entropy.bytes(length);
    },

    [Operation.restart]: (request) => {
      exactly(request, 0);
      return this.#endWith({ kind: "restart" });
    },

    [Operation.sleep]: (request) => {
      exactly(request, 8);
      return this.#endWith({ kind: "sleep", durationMs: u64(request, 0) });
    },

    [Operation.i2cTransfer]: (request) => {
      atLeast(request, 5);
      const bus = this.#world.i2c[request[0]!];
      if (bus === undefined) throw new Refusal(Status.absent, `I2C bus ${request[0]}`);
      between("I2C address", request[1]!, 0, 127);
      const readLength = request.readUInt16LE(3);
      most("I2C read", readLength, WireLimit.i2c);
      most("I2C write", request.length - 5, WireLimit.i2c);
      const bytes = bus.transfer(request[1]!, request.subarray(5), readLength);
      if (bytes === undefined) throw new Refusal(Status.noAcknowledge, `address ${request[1]}`);
      return bytes;
    },

    [Operation.analogRead]: (request) => {
      exactly(request, 1);
      const value = this.#world.pins.analog(request[0]!);
      if (value === undefined) throw new Refusal(Status.absent, `pin ${request[0]} is no analog input`);
      const reply = Buffer.alloc(3);
      reply[0] = ANALOG_RESOLUTION_BITS;
      reply.writeUInt16LE(value, 1);
      return reply;
    },

    [Operation.digitalOpen]: (request) => {
      exactly(request, 3);
      const [pin, mode, edges] = [request[0]!, request[1]!, request[2]!];
      if (this.#pins.has(pin)) throw new Refusal(Status.busy, `pin ${pin} is open`);
      most("edges", edges, 3);
      this.#pins.set(pin, { mode, edges });
      return undefined;
    },

    [Operation.digitalRead]: (request) => {
      exactly(request, 1);
      const { mode } = this.#openPin(request[0]!);
      return Uint8Array.of(this.#world.pins.level(request[0]!, mode === 1));
    },

    [Operation.digitalWrite]: (request) => {
      exactly(request, 2);
      if (this.#openPin(request[0]!).mode < 8) throw new Refusal(Status.range, `pin ${request[0]} is an input`);
      most("level", request[1]!, 1);
      this.#world.pins.drive(request[0]!, request[1] === 1 ? 1 : 0);
      return undefined;
    },

    [Operation.digitalClose]: (request) => {
      exactly(request, 1);
      this.#pins.delete(request[0]!);
      return undefined;
    },

    [Operation.flashStatus]: (request) => {
      const label = request.toString("latin1");
      const partition = this.#world.partitions.findIndex((candidate) => candidate.label === label);
      if (partition < 0) throw new Refusal(Status.absent, `no partition ${label}`);
      const { cells } = this.#world.partitions[partition]!;
      const reply = Buffer.alloc(13);
      reply[0] = partition;
      reply.writeUInt32LE(cells.sizeBytes, 1);
      reply.writeUInt32LE(cells.sectorBytes, 5);
      reply.writeUInt16LE(cells.writeUnitBytes, 9);
      reply.writeUInt16LE(PAGE_BYTES, 11);
      return reply;
    },

    [Operation.flashRead]: (request) => {
      exactly(request, 7);
      const cells = this.#cells(request[0]!);
      const [offset, length] = [request.readUInt32LE(1), request.readUInt16LE(5)];
      between("flash read", length, 1, WireLimit.flashRead);
      most("end of flash read", offset + length, cells.sizeBytes);
      return cells.read(offset, length);
    },

    [Operation.flashWrite]: (request) => {
      atLeast(request, 6);
      const cells = this.#cells(request[0]!);
      const offset = request.readUInt32LE(1);
      const bytes = new Uint8Array(request.subarray(5));
      most("end of flash write", offset + bytes.length, cells.sizeBytes);
      most("end in its page", (offset % PAGE_BYTES) + bytes.length, PAGE_BYTES);
      const unit = cells.writeUnitBytes;
      if (offset % unit !== 0 || bytes.length % unit !== 0)
        throw new Refusal(
          Status.range,
          `flash write: expected whole units of ${unit}, got ${bytes.length} at ${offset}`,
        );
      this.#world.power.drive(
        () => cells.program(offset, bytes),
        tearable(cells) ? () => cells.programTorn(offset, bytes) : undefined,
      );
      return undefined;
    },

    [Operation.flashErase]: (request) => {
      exactly(request, 5);
      const cells = this.#cells(request[0]!);
      const sector = request.readUInt32LE(1);
      most("sector", sector, cells.sizeBytes / cells.sectorBytes - 1);
      this.#world.power.drive(() => cells.erase(sector), tearable(cells) ? () => cells.eraseTorn(sector) : undefined);
      return undefined;
    },

    [Operation.flashList]: (request) => {
      exactly(request, 0);
      return namesReply(this.#world.partitions.map(({ label }) => label));
    },

    [Operation.keyRead]: (request) => {
      const [domain, nameAt] = nameIn(request, 0);
      const value = this.#world.keys.read(domain, name(request.subarray(nameAt)));
      if (value === undefined) throw new Refusal(Status.absent, "no such key");
      return value;
    },

    [Operation.keyWrite]: (request) => {
      const [domain, nameAt] = nameIn(request, 0);
      const [key, valueAt] = nameIn(request, nameAt);
      most("key value", request.length - valueAt, WireLimit.value);
      const value = new Uint8Array(request.subarray(valueAt));
      this.#drive(() => this.#world.keys.write(domain, key, value));
      return undefined;
    },

    [Operation.keyDelete]: (request) => {
      const [domain, nameAt] = nameIn(request, 0);
      const key = name(request.subarray(nameAt));
      this.#drive(() => this.#world.keys.delete(domain, key));
      return undefined;
    },

    [Operation.keyList]: (request) => namesReply(this.#world.keys.list(name(request))),

    [Operation.fuseRead]: (request) => {
      exactly(request, 0);
      const bits = this.#fuses().read();
      const reply = Buffer.alloc(5);
      reply[0] = bits.length;
      reply.writeUInt32LE(
        bits.reduce<number>((value, bit, i) => value + bit * 2 ** i, 0),
        1,
      );
      return reply;
    },

    [Operation.fuseBurn]: (request) => {
      exactly(request, 1);
      const fuses = this.#fuses();
      const bit = request[0]!;
      most("fuse", bit, GENERATION_FUSES - 1);
      this.#drive(
        () => fuses.burn(bit),
        () => fuses.burnTorn(bit),
      );
      return undefined;
    },

    [Operation.fuseHmac]: (request) => {
      const fuses = this.#fuses();
      between("message", request.length, 1, WireLimit.hmac);
      return fuses.hmac(request);
    },

    [Operation.requestOpen]: (request) => {
      atLeast(request, 10);
      if (this.#world.network === undefined) throw new Refusal(Status.unavailable, "no network");
      if (this.#requests.size >= WireLimit.requestsUnderWay)
        throw new Refusal(Status.busy, `${this.#requests.size} requests under way`);
      most("method", request[0]!, 1);
      const [maxResponseBytes, bodyLength] = [request.readUInt32LE(1), request.readUInt32LE(5)];
      most("longest response", maxResponseBytes, WireLimit.body);
      most("body", bodyLength, WireLimit.body);
      const path = request.toString("latin1", 9);
      most("path", path.length, WireLimit.path);
      if (!/^\/[\x21-\x7e]*$/.test(path)) throw new Refusal(Status.range, "path: expected ASCII that starts with /");
      do this.#lastRequest = (this.#lastRequest + 1) & 0xffff;
      while (this.#requests.has(this.#lastRequest));
      const opened: Request = {
        method: request[0] === 0 ? "GET" : "POST",
        path,
        maxResponseBytes,
        body: new Uint8Array(bodyLength),
        received: 0,
        abort: new AbortController(),
        response: undefined,
      };
      this.#requests.set(this.#lastRequest, opened);
      if (bodyLength === 0) this.#sendRequest(this.#lastRequest, opened);
      return u16Bytes(this.#lastRequest);
    },

    [Operation.requestBody]: (request) => {
      atLeast(request, 3);
      const number = request.readUInt16LE(0);
      const opened = this.#openRequest(number);
      const bytes = request.subarray(2);
      most("piece of a body", bytes.length, WireLimit.chunk);
      most("body", opened.received + bytes.length, opened.body.length);
      opened.body.set(bytes, opened.received);
      opened.received += bytes.length;
      if (opened.received === opened.body.length) this.#sendRequest(number, opened);
      return undefined;
    },

    [Operation.responseRead]: (request) => {
      exactly(request, 8);
      const { response } = this.#openRequest(request.readUInt16LE(0));
      if (response === undefined) throw new Refusal(Status.absent, "no response yet");
      const [offset, length] = [request.readUInt32LE(2), request.readUInt16LE(6)];
      between("piece of a response", length, 1, WireLimit.chunk);
      most("end of response", offset + length, response.length);
      return response.subarray(offset, offset + length);
    },

    [Operation.requestClose]: (request) => {
      exactly(request, 2);
      const number = request.readUInt16LE(0);
      this.#requests.get(number)?.abort.abort();
      this.#requests.delete(number);
      return undefined;
    },
  };

  /** What the engine itself asks, without a status in the reply: `Date` and `Math.random`. */
  #engineOperation(operation: number): Uint8Array | undefined {
    if (operation === Operation.engineRandom) return this.#world.entropy.bytes(4);
    if (operation !== Operation.engineDate) return undefined;
    const reply = Buffer.alloc(8);
    reply.writeDoubleLE(this.#world.boardWallMs() ?? 0);
    return reply;
  }

  #endWith(end: StartEnd): never {
    this.end = end;
    throw new StartEnded(end);
  }

  #cells(partition: number): FlashCells {
    const found = this.#world.partitions[partition];
    if (found === undefined) throw new Refusal(Status.absent, `no partition ${partition}`);
    return found.cells;
  }

  #fuses(): EFuses {
    const { fuses } = this.#world;
    if (fuses === undefined) throw new Refusal(Status.unavailable, "no key in this chip's fuses");
    return fuses;
  }

  /** A change of key store or fuses: what throws is a fault of the part. */
  #drive(change: () => void, torn?: () => void): void {
    this.#world.power.drive(() => {
      try {
        change();
      } catch (error) {
        throw new Refusal(Status.fault, error instanceof Error ? error.message : String(error));
      }
    }, torn);
  }

  #openPin(pin: number): { readonly mode: number; readonly edges: number } {
    const open = this.#pins.get(pin);
    if (open === undefined) throw new Refusal(Status.absent, `pin ${pin} is not open`);
    return open;
  }

  #onEdge(pin: number, level: 0 | 1): void {
    const edges = this.#pins.get(pin)?.edges ?? 0;
    if ((edges & (level === 1 ? 1 : 2)) !== 0) void this.#deliver(Uint8Array.of(EventKind.edge, pin, level));
  }

  #openRequest(number: number): Request {
    const request = this.#requests.get(number);
    if (request === undefined) throw new Refusal(Status.absent, `no request ${number}`);
    return request;
  }

  #sendRequest(number: number, request: Request): void {
    const { network, time, latencyMs } = this.#world;
    const answer = network!.request(request, request.abort.signal);
    // Delivered at a time that does not depend on how fast the relay was: virtual time waits in here for the answer.
    time.at(time.nowMs() + latencyMs, async () => {
      const answered = await answer;
      if (this.#requests.get(number) !== request) return;
      request.response = answered.outcome === "answered" ? answered.body : undefined;
      await this.#deliver(responseEvent(number, answered));
    });
  }

  async #deliver(event: Uint8Array): Promise<void> {
    if (!this.#closed && this.end === undefined) await this.#options.deliver(event);
  }
}

function tearable(cells: FlashCells): cells is TearableCells {
  return "programTorn" in cells && "eraseTorn" in cells;
}
