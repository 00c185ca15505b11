import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Crypto } from "tallystick/identity/crypto";
import { type Flash, FlashError } from "tallystick/journal/flash";
import { I2CBus } from "../../hosts/simulator/world/bus.js";
import { seededEntropy } from "../../hosts/simulator/world/entropy.js";
import type { I2CChip } from "../../hosts/simulator/world/i2c.js";
import { MemoryKeys } from "../../hosts/simulator/world/keys.js";
import { VirtualTime } from "../../hosts/simulator/world/time.js";
import { type TearableCells, World, type WorldOptions } from "../../hosts/simulator/world/world.js";

/** 2026-01-01T00:00Z: where virtual time starts. */
export const START_MS = Date.UTC(2026, 0, 1);

/** NOR cells as simple as they can be: for tests of the wire, not of the journal. */
export class PlainCells implements TearableCells {
  readonly bytes: Uint8Array;
  readonly sectorBytes = 4096;
  /** Set to make every following program and erase fail. */
  broken = false;
  constructor(
    readonly sizeBytes = 4 * 4096,
    readonly writeUnitBytes = 1,
  ) {
    this.bytes = new Uint8Array(sizeBytes).fill(0xff);
  }
  read(offset: number, length: number): Uint8Array {
    return this.bytes.slice(offset, offset + length);
  }
  program(offset: number, bytes: Uint8Array): void {
    if (this.broken) throw new FlashError("write", offset, "worn out");
    for (let i = 0; i < bytes.length; i++) this.bytes[offset + i]! &= bytes[i]!;
  }
  erase(sector: number): void {
    if (this.broken) throw new FlashError("erase", sector * this.sectorBytes, "worn out");
    this.bytes.fill(0xff, sector * this.sectorBytes, (sector + 1) * this.sectorBytes);
  }
  programTorn(offset: number, bytes: Uint8Array): void {
    this.program(offset, bytes.subarray(0, bytes.length >> 1));
  }
  eraseTorn(sector: number): void {
    this.bytes.fill(0, sector * this.sectorBytes, sector * this.sectorBytes + 100);
  }
}

/** A chip of 16 registers at 0x40: a write sets the pointer and then registers, a read goes on from the pointer. */
export class RegisterChip implements I2CChip {
  readonly registers = new Uint8Array(16);
  #pointer = 0;
  constructor(readonly address = 0x40) {}
  write(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    if (bytes[0]! >= 16) return false;
    this.#pointer = bytes[0]!;
    for (const byte of bytes.subarray(1)) this.registers[this.#pointer++ % 16] = byte;
    return true;
  }
  read(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.registers[this.#pointer++ % 16]!);
  }
}

export const FIRMWARE = {
  version: "0.1.0-test",
  sha256: new Uint8Array(createHash("sha256").update("firmware").digest()),
};

/** SHA-256 only: what is tested here signs nothing. */
export const HASH_ONLY: Crypto = {
  sha256: (bytes) => sha256(bytes),
  ed25519: {
    name: "none",
    publicKey: () => {
      throw new Error("not in this test");
    },
    sign: () => {
      throw new Error("not in this test");
    },
    equation: () => {
      throw new Error("not in this test");
    },
  },
};

export interface Rig {
  readonly time: VirtualTime;
  readonly cells: PlainCells;
  readonly keys: MemoryKeys;
  readonly chip: RegisterChip;
  readonly world: World;
}

/** A world with one partition, one chip and seeded entropy, in virtual time. */
export function rig(options: Partial<WorldOptions> = {}): Rig {
  const time = new VirtualTime(START_MS);
  const cells = new PlainCells();
  const keys = new MemoryKeys();
  const chip = new RegisterChip();
  const world = new World({
    model: "simulator",
    firmware: FIRMWARE,
    time,
    flash: { chain: cells },
    keys,
    entropy: seededEntropy("rig"),
    i2c: [new I2CBus([chip])],
    ...options,
  });
  return { time, cells, keys, chip, world };
}

export interface TestServer {
  readonly origin: string;
  readonly server: Server;
  close(): Promise<void>;
}

/** An HTTP server on loopback that answers each body with its SHA-256, `/long` with 5,000 bytes, and `/hang` never. */
export async function testServer(): Promise<TestServer> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      if (request.url === "/hang") return;
      if (request.url === "/long") return void response.end(Buffer.alloc(5_000, 7));
      if (request.url === "/missing") {
        response.statusCode = 404;
        return void response.end("no");
      }
      if (request.url?.startsWith("/busy?")) {
        response.writeHead(503, { "retry-after": decodeURIComponent(request.url.slice("/busy?".length)) });
        return void response.end();
      }
      response.end(
        createHash("sha256").update(`${request.method} ${request.url} `).update(Buffer.concat(parts)).digest(),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

export type { Flash };
