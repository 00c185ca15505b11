import { SourceMap } from "node:module";
import { transform } from "esbuild";
import { lineAt, type Problems, type Sources } from "./problem.js";
import { MISSING_GLOBALS, MISSING_METHODS } from "./rules.js";

/**
 * The language level of modules/: ES2021 and what XS 13.3 has beyond it, no host's globals. tsc checks the library's
 * level too; it takes newer syntax without a word, since it could lower it, and mcconfig does not.
 */

/** Beyond ES2021, and in XS 13.3: class fields, private members and their `in` test, static blocks. */
const BEYOND_2021 = {
  "class-field": true,
  "class-private-accessor": true,
  "class-private-brand-check": true,
  "class-private-field": true,
  "class-private-method": true,
  "class-private-static-accessor": true,
  "class-private-static-field": true,
  "class-private-static-method": true,
  "class-static-blocks": true,
  "class-static-field": true,
  "object-extensions": true,
};

const MARK = "TALLYSTICK_MISSING_";

/** Reports syntax beyond the limit, missing globals and missing methods. */
export async function checkLanguage(file: string, sources: Sources, problems: Problems): Promise<void> {
  const source = sources.text(file);
  const options = { loader: "ts", tsconfigRaw: {}, sourcefile: file, logLevel: "silent" } as const;
  try {
    const newest = await transform(source, { ...options, target: "esnext", sourcemap: "external" });
    const limited = await transform(source, { ...options, target: "es2021", supported: BEYOND_2021 });
    const marked = await transform(source, {
      ...options,
      target: "esnext",
      sourcemap: "external",
      define: Object.fromEntries(MISSING_GLOBALS.map((name) => [name, MARK + name.replace(".", "_DOT_")])),
    });
    reportDifference(file, newest.code, limited.code, newest.map, problems);
    for (const match of marked.code.matchAll(new RegExp(`\\b${MARK}(\\w+)`, "g")))
      problems.add(
        file,
        originalLine(marked.map, lineAt(marked.code, match.index)),
        `${match[1]!.replace("_DOT_", ".")} is not there on every engine: take it from the host`,
      );
    for (const match of newest.code.matchAll(new RegExp(`\\.(${MISSING_METHODS.join("|")})\\(`, "g")))
      problems.add(
        file,
        originalLine(newest.map, lineAt(newest.code, match.index)),
        `.${match[1]}() is missing in XS 13.3`,
      );
    for (const match of newest.code.matchAll(/\\[pP]\{/g))
      problems.add(
        file,
        originalLine(newest.map, lineAt(newest.code, match.index)),
        `${match[0]}…} is not in XS on boards: name the characters by their ranges`,
      );
  } catch {
    // Syntax errors are reported where the imports are read.
  }
}

/** Where lowering to the limit changes the program, the program is beyond the limit. */
function reportDifference(file: string, newest: string, limited: string, map: string, problems: Problems): void {
  if (newest === limited) return;
  const [a, b] = [newest.split("\n"), limited.split("\n")];
  // Helpers that lowering needs stand first: what differs is looked for from the end, then from there backwards.
  let same = 0;
  while (same < a.length && same < b.length && a[a.length - 1 - same] === b[b.length - 1 - same]) same++;
  problems.add(file, originalLine(map, Math.max(1, a.length - same)), "syntax beyond ES2021 that XS 13.3 may lack");
}

function originalLine(map: string, line: number): number {
  const entry = new SourceMap(JSON.parse(map)).findEntry(line - 1, 0);
  return "originalLine" in entry ? entry.originalLine + 1 : 1;
}
