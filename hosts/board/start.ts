import type { Crypto } from "tallystick/identity/crypto";
import { Board } from "./board.js";
import { type BoardPlatform, createPlatform } from "./platform.js";
import type { Wire } from "./wire.js";

/** What a maker's module exports as its default: it makes the device, which is then started. */
export type Application = (platform: BoardPlatform) => { start(): unknown };

/** The engine's native module `wire`. */
export interface NativeWire extends Wire {
  onEvent(handler: (event: ArrayBuffer) => void): void;
}

/** The board of one wire, with its events connected. */
export function boardOver(native: NativeWire): Board {
  const board = new Board(native);
  native.onEvent((event) => board.onEvent(new Uint8Array(event)));
  return board;
}

/**
 * Makes and starts a maker's application on a board, in a promise job: there a board's JavaScript stack is almost empty,
 * while within a module's evaluation an eighth of it is taken. What throws in here ends the start as a crash.
 */
export function startApplication(board: Board, crypto: Crypto, application: Application): void {
  void Promise.resolve().then(() => application(createPlatform(board, crypto)).start());
}
