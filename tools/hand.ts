import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Somebody who does what is asked for, one request at a time. */
export interface Hand<Asked, Answer> {
  ask(what: Asked): Promise<Answer>;
  close(): Promise<unknown>;
}

/** A process of its own that runs a TypeScript file, which answers each message with one. */
export function processHand<Asked, Answer>(file: URL): Hand<Asked, Answer> {
  const child = fork(fileURLToPath(file), { execArgv: ["--import", "tsx"] });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const lost = ended.then((status) => Promise.reject(new Error(`a worker ended with ${status}`)));
  // Only whoever waits for an answer is told.
  lost.catch(() => {});
  return {
    ask: (what) =>
      Promise.race([
        lost,
        new Promise<Answer>((resolve) => {
          child.once("message", (answer) => resolve(answer as Answer));
          child.send(what as object);
        }),
      ]),
    close: () => {
      child.kill();
      return ended;
    },
  };
}
