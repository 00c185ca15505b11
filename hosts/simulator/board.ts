/**
 * One simulated board: one instance of the engine's module, the real XS running the same modules as an ESP32.
 *
 * A board is a pure function of what the world tells it: it starts from an image (image.ts), gets one event at a time,
 * and asks the world through one synchronous call. Nothing of the host's clock, randomness or files reaches it.
 * Cutting its power is throwing `PowerCut` out of the world's call, or dropping the object.
 */
import { readFileSync } from "node:fs";
import v8 from "node:v8";

/** Operations that the engine itself asks the world for; all others belong to hosts/board. */
export const ENGINE_OPERATIONS = {
  /** Wall time for `Date`: the reply is a little-endian float64, milliseconds since 1970. No reply: 0. */
  clock: 1,
  /** `Math.random`, never keys: the reply is a little-endian uint32. No reply: 0. */
  random: 2,
} as const;

/** What a board can reach. Called synchronously, in the middle of the board's code. */
export interface World {
  /** The reply to one operation; undefined is an empty reply. Throwing PowerCut cuts the board's power right there. */
  call(operation: number, bytes: Uint8Array): Uint8Array | undefined;
}

/** Thrown by a world's call: the board stops where it stands, and every later event is refused. */
export class PowerCut extends Error {
  override name = "PowerCut";
}

/** The device machine's memory, named as a manifest's `creation` does. */
export interface Creation {
  /** The one block of chunks, slots and stack, in bytes. */
  readonly staticBytes: number;
  /** The JavaScript stack, in slots of 16 bytes. */
  readonly stackSlots: number;
  /** Names that the device adds to those of its image: at start, and by how many the table grows (0: it never does). */
  readonly initialKeys: number;
  readonly incrementalKeys: number;
}

/** What the SDK gives an ESP32-C3. */
export const ESP32_C3: Creation = { staticBytes: 94_208, stackSlots: 384, initialKeys: 256, incrementalKeys: 32 };

/** A root machine with its modules, ready to start devices: the memory of an instance, and how to read its lines. */
export interface Image {
  /** The module's hash: an image fits only the engine that made it. */
  readonly engine: string;
  readonly memory: Uint8Array;
  /** Of each module: the file it came from, and for each of its lines (from 1) the line there. */
  readonly lines: Readonly<Record<string, { readonly source: string; readonly lines: readonly number[] }>>;
}

/** Why a board stopped for good. */
export type EndReason =
  | "memory"
  | "stack"
  | "c-stack"
  | "exception"
  | "rejection"
  | "keys"
  | "computation"
  | "syntax"
  | "module"
  | "power"
  | "engine";

export interface BoardEnd {
  readonly reason: EndReason;
  /** One line for a person. */
  readonly message: string;
  /** Where, as far as it is known: the module's name, the file it came from, the line in that file. */
  readonly module?: string;
  readonly source?: string;
  readonly line?: number;
  /** What fills the JavaScript stack where it overflowed, innermost first. */
  readonly calls?: readonly StackCall[];
  readonly stats: BoardStats;
}

/** One call on the JavaScript stack. `place` is `native` for the engine's own functions. */
export interface StackCall {
  readonly place: string;
  readonly slots: number;
}

export interface BoardStats {
  /** Bytecodes run so far; 32 bits, wraps. */
  readonly meter: number;
  /** Peaks of the fixed block's use, in bytes. */
  readonly chunksPeakBytes: number;
  readonly slotsPeakBytes: number;
  /** Peak of the JavaScript stack, in slots, of how many. */
  readonly stackPeakSlots: number;
  readonly stackSlots: number;
  /** Never used so far of the fixed block. */
  readonly freeBytes: number;
  /** Names that the device added. */
  readonly keys: number;
  /** Objects of the image that the device could change; 4 bytes each, outside of the block. */
  readonly aliases: number;
  /** Bytecode of all modules: what they take of a board's flash. */
  readonly codeBytes: number;
}

/** A copy of a whole board between two events. */
export interface Snapshot {
  readonly memory: Uint8Array;
  readonly end: BoardEnd | undefined;
}

/** The engine as compiled by the host's own WebAssembly. */
export interface LoadedEngine {
  readonly hash: string;
  readonly module: WebAssembly.Module;
}

const loaded = new Map<string, LoadedEngine>();

/** Compiles the engine's module, once a process and path. */
export function loadEngine(engine: { readonly wasm: string; readonly hash: string }): LoadedEngine {
  const known = loaded.get(engine.wasm);
  if (known) return known;
  // The interpreter is one function that runs for long within one call: V8's baseline compiler would be all that it
  // ever sees, and is three times slower. The flag counts for modules that are compiled from here on.
  v8.setFlagsFromString("--no-liftoff");
  const result = { hash: engine.hash, module: new WebAssembly.Module(readFileSync(engine.wasm)) };
  loaded.set(engine.wasm, result);
  return result;
}

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly __stack_pointer: WebAssembly.Global;
  _initialize(): void;
  allocate(bytes: number): number;
  release(pointer: number): void;
  createRoot(): void;
  define(name: number, text: number, bytes: number): void;
  preload(name: number): void;
  seal(): void;
  start(name: number, staticBytes: number, stackSlots: number, initialKeys: number, incrementalKeys: number): void;
  event(bytes: number, length: number): number;
  collect(): void;
  figure(which: number): number;
}

/** The numbers of engine/board.h and of XS's exits. */
const REASONS: Readonly<Record<number, { readonly reason: EndReason; readonly message: string }>> = {
  1: { reason: "memory", message: "out of memory" },
  2: { reason: "stack", message: "JavaScript stack overflow" },
  5: { reason: "exception", message: "uncaught exception" },
  6: { reason: "keys", message: "too many different property names" },
  7: { reason: "computation", message: "too much computation" },
  8: { reason: "rejection", message: "unhandled rejection" },
  32: { reason: "syntax", message: "syntax error" },
  33: { reason: "module", message: "no such module" },
  34: { reason: "c-stack", message: "C stack overflow" },
};

/** Carries an end out of the engine's frames; never leaves this file. */
class Ended extends Error {
  readonly what: Omit<BoardEnd, "stats">;
  constructor(what: Omit<BoardEnd, "stats">) {
    super(what.message);
    this.what = what;
  }
}

const WASI_SUCCESS = 0;
const WASI_BAD_FILE = 8;
const WASI_NOT_SUPPORTED = 58;
const PAGE_BYTES = 65_536;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The engine's instance below a board or an image's builder: memory, texts in and out, the imports. */
export class EngineInstance {
  readonly engine: LoadedEngine;
  readonly lines: Image["lines"];
  readonly #world: World | undefined;
  #exports: Exports;
  #stackTop: number;
  #reply: Uint8Array = new Uint8Array(0);

  constructor(engine: LoadedEngine, lines: Image["lines"], world?: World) {
    this.engine = engine;
    this.lines = lines;
    this.#world = world;
    this.#exports = this.#instantiate();
    this.#stackTop = this.#exports.__stack_pointer.value;
  }

  get exports(): Exports {
    return this.#exports;
  }

  /** A copy of the memory. Between two calls the memory is the whole state of an instance. */
  memory(): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer.slice(0));
  }

  /** Goes back to a copy, also from the middle of a call that never returned. */
  restore(memory: Uint8Array): void {
    // A memory never shrinks, and what was beyond the copy would show: then start over with a new instance.
    if (this.#exports.memory.buffer.byteLength > memory.length) this.#exports = this.#instantiate();
    const missing = memory.length - this.#exports.memory.buffer.byteLength;
    if (missing > 0) this.#exports.memory.grow(missing / PAGE_BYTES);
    new Uint8Array(this.#exports.memory.buffer).set(memory);
    this.#exports.__stack_pointer.value = this.#stackTop;
  }

  /** Copies bytes in, with a NUL behind them; the engine owns them from then on, or `release` frees them. */
  put(bytes: Uint8Array): number {
    const pointer = this.#exports.allocate(bytes.length + 1);
    if (pointer === 0) throw new Ended({ reason: "memory", message: "the instance is out of memory" });
    const memory = new Uint8Array(this.#exports.memory.buffer);
    memory.set(bytes, pointer);
    memory[pointer + bytes.length] = 0;
    return pointer;
  }

  putText(text: string): number {
    return this.put(encoder.encode(text));
  }

  /** What an exception that left the engine means. Rethrows what is not the board's doing. */
  ending(error: unknown): Omit<BoardEnd, "stats"> {
    if (error instanceof Ended) return error.what;
    if (error instanceof PowerCut) return { reason: "power", message: error.message || "power cut" };
    // The host's own stack ended before the engine's did: deterministic enough to name, not to compare.
    if (error instanceof RangeError && /call stack/.test(error.message))
      return { reason: "c-stack", message: "C stack overflow" };
    if (error instanceof WebAssembly.RuntimeError)
      return { reason: "engine", message: `the engine trapped: ${error.message}` };
    throw error;
  }

  stats(): BoardStats {
    const figure = (which: number) => this.#exports.figure(which);
    return {
      meter: figure(1),
      chunksPeakBytes: figure(2),
      slotsPeakBytes: figure(3),
      stackPeakSlots: figure(9),
      stackSlots: figure(4),
      freeBytes: figure(5),
      keys: figure(6),
      aliases: figure(7),
      codeBytes: figure(0),
    };
  }

  #instantiate(): Exports {
    const world = {
      call: (operation: number, pointer: number, length: number) => {
        this.#reply = this.#ask(operation, this.#copy(pointer, length));
        return this.#reply.length;
      },
      take: (pointer: number) => {
        new Uint8Array(this.#exports.memory.buffer).set(this.#reply, pointer);
      },
      clock: () => {
        const reply = this.#ask(ENGINE_OPERATIONS.clock, new Uint8Array(0));
        return reply.length < 8 ? 0 : new DataView(reply.buffer, reply.byteOffset).getFloat64(0, true);
      },
      random: () => {
        const reply = this.#ask(ENGINE_OPERATIONS.random, new Uint8Array(0));
        return reply.length < 4 ? 0 : new DataView(reply.buffer, reply.byteOffset).getInt32(0, true);
      },
      end: (number: number, message: number, module: number, line: number) => {
        throw new Ended(this.#describe(number, this.#text(message), this.#text(module), line));
      },
    };
    // XS and the C library ask for these; none of them may bring anything in from outside.
    const wasi = {
      clock_time_get: (_id: number, _precision: bigint, pointer: number) => {
        new DataView(this.#exports.memory.buffer).setBigUint64(pointer, 0n, true);
        return WASI_SUCCESS;
      },
      environ_sizes_get: (count: number, bytes: number) => {
        const view = new DataView(this.#exports.memory.buffer);
        view.setUint32(count, 0, true);
        view.setUint32(bytes, 0, true);
        return WASI_SUCCESS;
      },
      environ_get: () => WASI_SUCCESS,
      random_get: () => WASI_NOT_SUPPORTED,
      proc_exit: (code: number) => {
        throw new Ended({ reason: "engine", message: `the engine exited with ${code}` });
      },
    };
    const imports = WebAssembly.Module.imports(this.engine.module);
    const others = imports.filter(
      ({ module, name }) => module === "wasi_snapshot_preview1" && !Object.hasOwn(wasi, name),
    );
    const refused = Object.fromEntries(others.map(({ name }) => [name, () => WASI_BAD_FILE]));
    const instance = new WebAssembly.Instance(this.engine.module, {
      world,
      wasi_snapshot_preview1: { ...refused, ...wasi },
    });
    return instance.exports as unknown as Exports;
  }

  #ask(operation: number, bytes: Uint8Array): Uint8Array {
    return this.#world?.call(operation, bytes) ?? new Uint8Array(0);
  }

  #copy(pointer: number, length: number): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer).slice(pointer, pointer + length);
  }

  #text(pointer: number): string {
    if (pointer === 0) return "";
    const memory = new Uint8Array(this.#exports.memory.buffer);
    return decoder.decode(memory.subarray(pointer, memory.indexOf(0, pointer)));
  }

  #describe(number: number, detail: string, module: string, line: number): Omit<BoardEnd, "stats"> {
    const { reason, message } = REASONS[number] ?? {
      reason: "engine" as const,
      message: `the engine aborted with ${number}`,
    };
    const origin = this.lines[module];
    const sourceLine = origin?.lines[line - 1] ?? line;
    const place = module === "" ? "" : ` at ${this.#place(module, line)}`;
    if (reason === "stack")
      return {
        reason,
        message: `${message}${place}`,
        calls: this.#calls(detail),
        module,
        line: sourceLine,
        ...(origin ? { source: origin.source } : {}),
      };
    return {
      reason,
      message: `${detail === "" ? message : `${message}: ${detail}`}${place}`,
      ...(module === "" ? {} : { module, line: sourceLine }),
      ...(origin ? { source: origin.source } : {}),
    };
  }

  /** The place in TypeScript of a line of a module. */
  #place(module: string, line: number): string {
    const origin = this.lines[module];
    return `${origin?.source ?? module}:${origin?.lines[line - 1] ?? line}`;
  }

  /** Lines of `module line slots`, as end.c lists them. */
  #calls(list: string): StackCall[] {
    const calls: StackCall[] = [];
    for (const call of list.split("\n")) {
      const [module, line, slots] = call.split(" ");
      if (slots === undefined) continue;
      calls.push({ place: module ? this.#place(module, Number(line)) : "native", slots: Number(slots) });
    }
    return calls;
  }
}

export interface BoardOptions {
  readonly engine: LoadedEngine;
  readonly image: Image;
  readonly world: World;
  /** The module that the board starts with, by its name in the image. */
  readonly main: string;
  readonly creation?: Partial<Creation>;
}

/** A board. Construct, `start`, then one `event` after the other, until `end` is set. */
export class Board {
  readonly #instance: EngineInstance;
  readonly #options: BoardOptions;
  #end: BoardEnd | undefined;
  #busy = false;

  constructor(options: BoardOptions) {
    if (options.image.engine !== options.engine.hash)
      throw new Error("board: the image was made by another engine; build it again");
    this.#options = options;
    this.#instance = new EngineInstance(options.engine, options.image.lines, options.world);
    this.#instance.restore(options.image.memory);
  }

  /** Why the board stopped; undefined while it runs. */
  get end(): BoardEnd | undefined {
    return this.#end;
  }

  /** Creates the device machine and runs the main module. False where that ended the board. */
  start(): boolean {
    const { staticBytes, stackSlots, initialKeys, incrementalKeys } = { ...ESP32_C3, ...this.#options.creation };
    this.#run(() => {
      const name = this.#instance.putText(this.#options.main);
      this.#instance.exports.start(name, staticBytes, stackSlots, initialKeys, incrementalKeys);
    });
    return this.#end === undefined;
  }

  /**
   * Delivers one event to the handler that the board's code registered, and runs until nothing is left to do.
   * Returns what the handler returned (by convention the milliseconds until it wants to be woken); undefined where it
   * returned nothing, and where the event ended the board.
   */
  event(bytes: Uint8Array): number | undefined {
    let wake = Number.NaN;
    this.#run(() => {
      const pointer = this.#instance.put(bytes);
      wake = this.#instance.exports.event(pointer, bytes.length);
      this.#instance.exports.release(pointer);
    });
    return Number.isNaN(wake) ? undefined : wake;
  }

  /** Collects garbage now: for tests and figures, a board does it when it must. */
  collect(): void {
    this.#run(() => this.#instance.exports.collect());
  }

  /** The whole board, to go back to. Only between events. */
  image(): Snapshot {
    if (this.#busy) throw new Error("board: an image is taken between events, not within one");
    return { memory: this.#instance.memory(), end: this.#end };
  }

  /** Goes back to where `image` was taken, also after the board ended. */
  restore(snapshot: Snapshot): void {
    if (this.#busy) throw new Error("board: an image is restored between events, not within one");
    this.#instance.restore(snapshot.memory);
    this.#end = snapshot.end;
  }

  stats(): BoardStats {
    return this.#end?.stats ?? this.#instance.stats();
  }

  #run(call: () => void): void {
    if (this.#end) throw new Error(`board: it has ended (${this.#end.message})`);
    if (this.#busy) throw new Error("board: it is in the middle of an event");
    this.#busy = true;
    try {
      call();
    } catch (error) {
      this.#end = { reason: "engine", message: String(error), stats: this.#instance.stats() };
      this.#end = { ...this.#instance.ending(error), stats: this.#instance.stats() };
    } finally {
      this.#busy = false;
    }
  }
}
