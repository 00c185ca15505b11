import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

interface Row {
  readonly threat: string;
  /** Undefined where no test is there yet. */
  readonly file: string | undefined;
  readonly title: string;
}

/** Whole titles of a source's tests and of their groups, as they are written there. */
function titlesIn(source: string): ReadonlySet<string> {
  const calls = /^[ \t]*(?:it|describe)\(\s*(?:"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/gm;
  return new Set([...source.matchAll(calls)].map(([, plain, template]) => plain ?? template!));
}

function rowsOf(text: string): Row[] {
  const lines = text.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(1).map((line) => {
    const cells = /^\| (.+?) \| (?:`(tests\/[\w./-]+\.test\.ts)`|open) \| (.+) \|$/.exec(line);
    assert.ok(cells, `expected threat, file or open, and a title: ${line}`);
    return { threat: cells[1]!, file: cells[2], title: cells[3]! };
  });
}

describe("tests/THREATS.md", () => {
  const rows = rowsOf(readFileSync(`${ROOT}tests/THREATS.md`, "utf8"));

  it("names tests that are there, each by its whole title", () => {
    assert.ok(rows.length > 60, `found ${rows.length} rows`);
    const missing = rows.filter(
      ({ file, title }) => file !== undefined && !titlesIn(readFileSync(`${ROOT}${file}`, "utf8")).has(title),
    );
    assert.deepEqual(missing, []);
  });

  it("says each thing once", () => {
    assert.equal(new Set(rows.map(({ threat }) => threat)).size, rows.length);
  });

  it("would miss a test whose title has changed by a letter", () => {
    for (const { file, title } of rows)
      if (file) assert.equal(titlesIn(readFileSync(`${ROOT}${file}`, "utf8")).has(`${title}.`), false, title);
  });

  it("takes no comment for a test, nor one that is skipped", () => {
    const source = ['  it("one", f);', "  it(`two`, f);", '  // it("three", f);', '  it.skip("four", f);'].join("\n");
    assert.deepEqual([...titlesIn(source)], ["one", "two"]);
  });
});
