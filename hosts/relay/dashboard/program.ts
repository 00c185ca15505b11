import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/**
 * The page's TypeScript as one module, made when the first operator looks: it holds the relay up once, for less than what a
 * full batch takes.
 */
export function pageProgram(): string {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL("./page/main.ts", import.meta.url))],
    bundle: true,
    write: false,
    platform: "browser",
    format: "esm",
    target: "es2022",
  });
  return outputFiles[0]!.text;
}
