import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** The thread's program as one piece of JavaScript, like verify/build-thread.ts. */
export function buildThread(): string {
  built ??= build();
  return built;
}

let built: string | undefined;

function build(): string {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL("./thread.ts", import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node20",
  });
  return outputFiles[0]!.text;
}
