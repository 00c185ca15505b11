import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildSync } from "esbuild";

/**
 * The thread's program as one piece of JavaScript. A thread that loaded TypeScript for itself would need a loader of its
 * own, which is another thread beside it.
 */
export function buildThread(): string {
  built ??= build();
  return built;
}

let built: string | undefined;

function build(): string {
  const entry = fileURLToPath(new URL("./thread.ts", import.meta.url));
  // A program without a file has nothing that a package's name could be looked up from.
  const sodium = createRequire(import.meta.url).resolve("sodium-native");
  const { outputFiles } = buildSync({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node20",
    alias: { "sodium-native": sodium },
    external: [sodium],
    define: { "import.meta.url": JSON.stringify(pathToFileURL(entry).href) },
  });
  return outputFiles[0]!.text;
}
