import type { Crypto } from "tallystick/identity/crypto";
import { type Application, boardOver, startApplication } from "../board/start.js";
import type { Instance, Lane, WireCall } from "./lane.js";

/**
 * Lane A: hosts/board and the modules on Node's own engine, in this process. For coverage, debugging and large counts;
 * what it cannot show is the memory and the engine of a board.
 */
export function laneA(application: Application, crypto: Crypto): Lane {
  return { name: "node", boot: (call) => bootInNode(call, application, crypto) };
}

async function bootInNode(call: WireCall, application: Application, crypto: Crypto): Promise<Instance> {
  let alive = true;
  let onEvent: ((event: ArrayBuffer) => void) | undefined;
  const native = {
    call(operation: number, request: Uint8Array): ArrayBuffer {
      // What a dead instance still does in its promise jobs must not reach the world.
      if (!alive) throw new Error("this board's instance is gone");
      return call(operation, request).slice().buffer as ArrayBuffer;
    },
    onEvent(handler: (event: ArrayBuffer) => void): void {
      onEvent = handler;
    },
  };
  const kill = () => {
    alive = false;
  };
  await turn(() => startApplication(boardOver(native), crypto, application), kill);
  return {
    event: (bytes) => turn(() => onEvent?.(bytes.slice().buffer as ArrayBuffer), kill),
    discard: kill,
  };
}

let turns: Promise<unknown> = Promise.resolve();

/** One board runs at a time, so that a rejection that nobody handles belongs to the board whose turn it is. */
function turn(work: () => void, kill: () => void): Promise<void> {
  const mine = turns.then(() => takeTurn(work, kill));
  turns = mine.catch(() => {});
  return mine;
}

/** Runs `work` and all promise jobs that follow. An exception, or a rejection that nobody handles, ends the board as on XS. */
async function takeTurn(work: () => void, kill: () => void): Promise<void> {
  const failures: unknown[] = [];
  const failed = (error: unknown) => {
    kill();
    failures.push(error);
  };
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", failed);
  try {
    try {
      work();
    } catch (error) {
      failed(error);
    }
    // Promise jobs, and Node's look at unhandled rejections, come before the next immediate.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.removeListener("unhandledRejection", failed);
    for (const other of others) process.on("unhandledRejection", other);
  }
  if (failures.length > 0) throw failures[0];
}
