/** Modules that an image gives a simulated board: what the engine brings, and the maker's application. */

declare module "wire" {
  /** One call of hosts/board/WIRE.md: the reply, status first. */
  export function call(operation: number, request: Uint8Array): ArrayBuffer;
  export function onEvent(handler: (event: ArrayBuffer) => void): void;
}

declare module "tallystick-native" {
  type NativeCrypto = import("./crypto.js").NativeCrypto;
  export const sha256: NativeCrypto["sha256"];
  export const ed25519: NativeCrypto["ed25519"];
}

declare module "application" {
  const application: import("./start.js").Application;
  export default application;
}
