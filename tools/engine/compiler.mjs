// One worker of the engine's build: runs npm's clang, which is WebAssembly itself, on the jobs that build.ts sends.

import { parentPort, workerData } from "node:worker_threads";
import { runClang } from "@yowasp/clang";

/** The source tree as the compiler sees it. */
const tree = workerData.tree;

parentPort.on("message", async ({ id, args, files, output }) => {
  let said = "";
  const stderr = (bytes) => {
    if (bytes) said += Buffer.from(bytes).toString();
  };
  try {
    const result = await runClang(["clang", ...args], files ?? tree, { stderr });
    parentPort.postMessage({ id, bytes: result[output], said });
  } catch (error) {
    parentPort.postMessage({ id, error: said || String(error) });
  }
});
