import { fileURLToPath } from "node:url";
import { build, stop } from "esbuild";

/** The page's TypeScript as one module, made when the first operator looks, by a process beside the relay that ends with it. */
export async function pageProgram(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("./page/main.ts", import.meta.url))],
    bundle: true,
    write: false,
    platform: "browser",
    format: "esm",
    target: "es2022",
  });
  await stop();
  return outputFiles[0]!.text;
}
