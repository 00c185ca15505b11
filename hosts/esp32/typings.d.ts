/**
 * What the SDK 8.2.3 has and npm's @moddable/typings 5.6.0 does not describe, as far as this host uses it. Only the
 * type check of this repository reads it; mcconfig brings the SDK's own typings.
 */

declare module "embedded:storage/flash" {
  interface FlashPartition {
    /** Blocks are the units of erasing; `end` is exclusive. */
    eraseBlock(start: number, end: number): void;
    read(into: Uint8Array, byteOffset: number): number;
    write(bytes: Uint8Array, byteOffset: number): void;
    /** In bytes: the partition, one block; and how many blocks. */
    status(): { size: number; blockLength: number; blocks: number };
    close(): void;
  }
  const FlashStorage: { open(options: { path: string; mode?: "r" | "r+" }): FlashPartition };
  export default FlashStorage;
}

declare module "embedded:storage/key-value" {
  interface Store {
    /** A missing key reads undefined. */
    read(key: string): ArrayBuffer | string | number | bigint | undefined;
    write(key: string, value: Uint8Array): void;
    delete(key: string): void;
    close(): void;
  }
  const KeyValueStorage: { open(options: { path: string; format?: "buffer"; mode?: "r" | "r+" }): Store };
  export default KeyValueStorage;
}

declare module "embedded:network/interface/wifi" {
  class WiFi {
    constructor(options: { onChanged?: (property: "connection" | "address") => void });
    connect(options: { SSID: string; password?: string }): void;
    disconnect(): void;
    close(): void;
    /** ECMA-419's network interface pattern: 500 and above once there is an address. */
    readonly connection: number;
    readonly address: string | undefined;
  }
  export default WiFi;
}

/** The function that mcconfig binds to the C function `name`. What it takes and gives is said where it is called. */
declare function native(name: string): (this: unknown, ...parameters: unknown[]) => never;
