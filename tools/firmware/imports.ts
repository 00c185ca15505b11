import { build, type Message } from "esbuild";
import { lineOf, type Problems, type Sources } from "./problem.js";

/** One import that is left when types are gone. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** What each script imports at run time, by file; syntax errors go to `problems`. */
export async function importsOf(
  files: readonly string[],
  sources: Sources,
  problems: Problems,
): Promise<ReadonlyMap<string, readonly Import[]>> {
  const found = new Map<string, Import[]>(files.map((file) => [file, []]));
  const result = await build({
    entryPoints: [...files],
    outdir: "unwritten",
    write: false,
    bundle: true,
    format: "esm",
    platform: "neutral",
    logLevel: "silent",
    // As mcconfig's tsc: an import whose names are types only is dropped.
    tsconfigRaw: {},
    plugins: [
      {
        name: "collect",
        setup(hooks) {
          hooks.onResolve({ filter: /.*/ }, ({ path, importer, kind }) => {
            if (kind === "entry-point") return undefined;
            const text = sources.text(importer);
            const quoted = [`"${path}"`, `'${path}'`].find((literal) => text.includes(literal)) ?? path;
            const line = lineOf(text, quoted);
            if (kind === "require-call" || kind === "require-resolve")
              problems.add(importer, line, `require("${path}"): XS has ECMAScript modules only`);
            else found.get(importer)?.push({ specifier: path, line });
            return { path, external: true };
          });
        },
      },
    ],
  }).catch((failure: { errors?: Message[] }) => failure);
  for (const { text, location } of result.errors ?? [])
    if (location !== null) problems.add(location.file, location.line, text);
  return found;
}

/**
 * The module name that XS looks up for `specifier` in the module called `importer`: a relative specifier is resolved
 * against the importer's *name*, not its file, and a trailing `.js` is dropped.
 */
export function resolveSpecifier(importer: string, specifier: string): string {
  const name = specifier.endsWith(".js") ? specifier.slice(0, -3) : specifier;
  if (!name.startsWith("./") && !name.startsWith("../")) return name;
  const path = importer.split("/").slice(0, -1);
  for (const part of name.split("/")) {
    if (part === "..") path.pop();
    else if (part !== ".") path.push(part);
  }
  return path.join("/");
}
