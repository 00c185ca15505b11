import { createHmac } from "node:crypto";

/**
 * Stand-ins for the SDK's modules on Node, for the tests of hosts/esp32: time, radio, HTTP client, partition and NVS that
 * a test drives by hand. They behave as the SDK 8.2.3's own do where the host depends on it.
 */

interface Scheduled {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Virtual time: timers fire in order when a test moves it. */
class Clockwork {
  nowMs = 0;
  #timers: Scheduled[] = [];

  set(callback: () => void, delayMs = 0): object {
    const timer = { atMs: this.nowMs + delayMs, callback };
    this.#timers.push(timer);
    return timer;
  }

  clear(timer: object): void {
    const at = this.#timers.indexOf(timer as Scheduled);
    // As the SDK's: a timer that has fired is no timer any more.
    if (at < 0) throw new Error("invalid timer");
    this.#timers.splice(at, 1);
  }

  advance(byMs: number): void {
    const endMs = this.nowMs + byMs;
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.splice(this.#timers.indexOf(due), 1);
      this.nowMs = due.atMs;
      due.callback();
    }
    this.nowMs = endMs;
  }

  get pending(): number {
    return this.#timers.length;
  }
}

interface RequestOptions {
  readonly method: string;
  readonly path: string;
  readonly headers: Map<string, string>;
  onHeaders(this: FakeRequest, status: number, headers: Map<string, string>): void;
  onWritable(this: FakeRequest, count: number): void;
  onReadable(this: FakeRequest, count: number): void;
  onDone(this: FakeRequest, error: Error | null): void;
}

class FakeRequest {
  written: number[] = [];
  incoming: Uint8Array = new Uint8Array(0);
  constructor(readonly options: RequestOptions) {}
  read(count: number): ArrayBuffer {
    const part = this.incoming.slice(0, count);
    this.incoming = this.incoming.subarray(count);
    return part.buffer;
  }
  write(part: Uint8Array): void {
    this.written.push(...part);
  }
  take(count: number): void {
    this.options.onWritable.call(this, count);
  }
  answer(status: number, headers: Record<string, string>): void {
    this.options.onHeaders.call(this, status, new Map(Object.entries(headers)));
  }
  deliver(bytes: Uint8Array): void {
    this.incoming = bytes;
    this.options.onReadable.call(this, bytes.length);
  }
  done(error: Error | null): void {
    this.options.onDone.call(this, error);
  }
}

class FakeHTTPClient {
  static made: FakeHTTPClient[] = [];
  static refuse: string | undefined;
  requests: FakeRequest[] = [];
  closed = false;
  constructor(readonly options: { host: string; port: number; dns: { servers: string[] }; onError(): void }) {
    if (FakeHTTPClient.refuse !== undefined) throw new Error(FakeHTTPClient.refuse);
    FakeHTTPClient.made.push(this);
  }
  request(options: RequestOptions): FakeRequest {
    const request = new FakeRequest(options);
    this.requests.push(request);
    return request;
  }
  close(): void {
    this.closed = true;
  }
}

class FakeWiFi {
  static made: FakeWiFi[] = [];
  connection = 200;
  address: string | undefined;
  attempts: object[] = [];
  refuse = false;
  constructor(readonly options: { onChanged(property: string): void }) {
    FakeWiFi.made.push(this);
  }
  connect(options: object): void {
    if (this.connection === 300) throw new Error("already connecting");
    if (this.refuse) throw new Error("connect failed");
    this.attempts.push(options);
    this.connection = 300;
  }
  disconnect(): void {
    this.connection = 200;
    this.address = undefined;
  }
  become(connection: number, address?: string): void {
    this.connection = connection;
    this.address = address;
    this.options.onChanged("connection");
  }
}

export const clockwork = new Clockwork();
export const Timer = {
  set: (callback: () => void, delayMs?: number) => clockwork.set(callback, delayMs),
  clear: (timer: object) => clockwork.clear(timer),
};
export const Time = {
  setTo: undefined as number | undefined,
  set(seconds: number): void {
    Time.setTo = seconds;
  },
};
export const net = { servers: ["192.168.1.1"], get: () => net.servers };
export const http = FakeHTTPClient;
export const wifi = FakeWiFi;

/** A partition of `blocks` blocks that a fault can be put into. */
export const partition = {
  bytes: new Uint8Array(4 * 4096).fill(0xff),
  fault: undefined as string | undefined,
  encrypted: false,
  calls: [] as string[],
};
/** The partition of a maker's statement, erased. */
export const makerPartition = new Uint8Array(4096).fill(0xff);
export const FlashStorage = {
  open({ path, mode }: { path: string; mode: string }) {
    if (path === "maker" && mode === "r")
      return {
        read: (into: Uint8Array, offset: number) => into.set(makerPartition.subarray(offset, offset + into.length)),
      };
    if (path !== "chain") throw new Error("can't find partition");
    const act = (call: string): void => {
      partition.calls.push(call);
      if (partition.fault !== undefined) throw new Error(partition.fault);
    };
    return {
      status: () => ({ size: partition.bytes.length, blockLength: 4096, blocks: 4 }),
      read(into: Uint8Array, offset: number) {
        act(`read ${offset}`);
        into.set(partition.bytes.subarray(offset, offset + into.length));
        return into.length;
      },
      write(bytes: Uint8Array, offset: number) {
        act(`write ${offset}`);
        for (let i = 0; i < bytes.length; i++) partition.bytes[offset + i]! &= bytes[i]!;
      },
      eraseBlock(start: number, end: number) {
        act(`erase ${start} ${end}`);
        partition.bytes.fill(0xff, start * 4096, end * 4096);
      },
    };
  },
};

export const nvs = new Map<string, ArrayBuffer | string>();
export const KeyValueStorage = {
  open: ({ path, format }: { path: string; format: string }) => ({
    read: (key: string) => nvs.get(`${path}/${format}/${key}`),
    write(key: string, value: Uint8Array) {
      nvs.set(`${path}/${format}/${key}`, value.slice().buffer);
    },
    delete(key: string) {
      nvs.delete(`${path}/${format}/${key}`);
    },
  }),
};

/** Fuses with a key, or without; a fault makes burning fail. */
export const efuse = {
  key: undefined as Uint8Array | undefined,
  bits: 0,
  fault: undefined as string | undefined,
};

/** What board.c and efuse.c do, by name. */
export const natives: Record<string, (...parameters: never[]) => unknown> = {
  xs_tallystick_uptime: () => clockwork.nowMs,
  xs_tallystick_is_encrypted: () => partition.encrypted,
  xs_tallystick_efuse_has_key: () => efuse.key !== undefined,
  xs_tallystick_efuse_read: () => efuse.bits,
  xs_tallystick_efuse_burn: (bit: number) => {
    if (efuse.fault !== undefined) throw new Error(efuse.fault);
    efuse.bits |= 1 << bit;
  },
  xs_tallystick_efuse_hmac: (message: Uint8Array) =>
    new Uint8Array(createHmac("sha256", efuse.key!).update(message).digest()).buffer,
};
