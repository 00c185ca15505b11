import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));
const CACHE = `${ROOT}.cache/cuts/`;

/** A change of one source file, for showing that a defence is needed: `from` stands in it exactly once. */
export interface Mutation {
  /** From the project's top, as modules/journal/scan.ts. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/**
 * A worker and all that it imports but the packages that are named, as one file that starts in a moment; with the mutation in
 * it where one is given.
 */
export async function bundleWorker(
  mutation?: Mutation,
  worker = WORKER,
  external: readonly string[] = [],
): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [worker],
    external: [...external],
    bundle: true,
    platform: "node",
    format: "esm",
    write: false,
    sourcemap: "inline",
    logLevel: "silent",
    plugins: [
      {
        name: "mutation",
        setup({ onLoad }) {
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            if (path === `${ROOT}${mutation?.file}`) return { contents: mutated(mutation!), loader: "ts" };
            return path === `${ROOT}${PLACED}` ? { contents: placed(path), loader: "ts" } : undefined;
          });
        },
      },
    ],
  });
  const { contents } = outputFiles[0]!;
  const path = `${CACHE}${createHash("sha256").update(contents).digest("hex").slice(0, 16)}.mjs`;
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(path, contents);
  return path;
}

/** It bundles what stands beside it, and so has to know where it stood itself. */
const PLACED = "hosts/relay/verify/build-thread.ts";

function placed(path: string): string {
  return readFileSync(path, "utf8").replace(/(?<!")import\.meta\.url/g, JSON.stringify(pathToFileURL(path).href));
}

function mutated({ file, from, to }: Mutation): string {
  const text = readFileSync(`${ROOT}${file}`, "utf8");
  if (text.split(from).length !== 2) throw new Error(`${file}: expected exactly once:\n${from}`);
  return text.replace(from, () => to);
}
