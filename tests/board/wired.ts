import type { Board } from "../../hosts/board/board.js";
import { boardOver } from "../../hosts/board/start.js";
import { ResetReason } from "../../hosts/board/wire.js";
import { Start } from "../../hosts/simulator/world/start.js";
import type { WorldOptions } from "../../hosts/simulator/world/world.js";
import { type Rig, rig } from "../world/rig.js";

export interface Wired extends Rig {
  readonly board: Board;
  readonly start: Start;
  readonly printed: string[];
  /** Numbers of the operations so far. */
  readonly operations: number[];
}

/** A board of this test's own code, on a world's wire. */
export function wired(options: Partial<WorldOptions> = {}): Wired {
  const world = rig(options);
  const printed: string[] = [];
  const operations: number[] = [];
  const start = new Start(world.world, {
    resetReason: ResetReason.powerOn,
    uptimeFromMs: world.time.nowMs(),
    deliver: async (event) => onEvent(event.slice().buffer as ArrayBuffer),
    onPrint: (line) => printed.push(line),
  });
  let onEvent: (event: ArrayBuffer) => void = () => {};
  const board = boardOver({
    onEvent(handler) {
      onEvent = handler;
    },
    call(operation, request) {
      operations.push(operation);
      return start.call(operation, request).slice().buffer as ArrayBuffer;
    },
  });
  return { ...world, board, start, printed, operations };
}
