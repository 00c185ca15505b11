import type { Crypto } from "tallystick/identity/crypto";
import { Board } from "./board.js";
import { type BoardPlatform, createPlatform } from "./platform.js";
import { EventKind, type Wire } from "./wire.js";

/** What a maker's module exports as its default: it makes the device, which is then started. */
export type Application = (platform: BoardPlatform) => { start(): unknown };

/** The engine's native module `wire`. */
export interface NativeWire extends Wire {
  onEvent(handler: (event: ArrayBuffer) => void): void;
}

/**
 * The board of one wire, with its events connected. What throws in an event ends the start as a crash.
 *
 * Timers are called from the handler itself, in a plain loop, and nothing is cleaned up after one that throws: each frame,
 * iterator and `finally` here would lie below everything that an application does, on a stack of 384 slots.
 */
export function boardOver(native: NativeWire): Board {
  const board = new Board(native);
  const { timers } = board;
  native.onEvent((event) => {
    const bytes = new Uint8Array(event);
    if (bytes[0] !== EventKind.timer) {
      board.onEvent(bytes);
      return;
    }
    const due = timers.takeDue();
    for (let i = 0; i < due.length; i++) due[i]!.take()?.();
    timers.announce();
  });
  return board;
}

/**
 * Makes and starts a maker's application on a board, in a promise job: there a board's JavaScript stack is almost empty,
 * while within a module's evaluation an eighth of it is taken. What throws in here ends the start as a crash.
 */
export function startApplication(board: Board, crypto: Crypto, application: Application): void {
  void Promise.resolve().then(() => application(createPlatform(board, crypto)).start());
}
