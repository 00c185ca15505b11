import { readFileSync } from "node:fs";
import { relative } from "node:path";

/** One thing that a firmware build would trip over, or worse, would not. */
export interface Problem {
  /** Relative to the repository, with forward slashes. */
  readonly file: string;
  /** 1-based; the file's first line where the problem has no line of its own. */
  readonly line: number;
  readonly message: string;
}

/** Collects problems of one run, each once: two targets trip over the same line. */
export class Problems {
  readonly #root: string;
  readonly #found = new Map<string, Problem>();

  constructor(root: string) {
    this.#root = root;
  }

  add(file: string, line: number, message: string): void {
    const name = relative(this.#root, file).replaceAll("\\", "/");
    this.#found.set(`${name}:${line}:${message}`, { file: name, line, message });
  }

  /** By file and line. */
  list(): Problem[] {
    return [...this.#found.values()].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line));
  }
}

/** The line that first holds `needle`, at or after `from`; line 1 where none does. */
export function lineOf(text: string, needle: string, from = 0): number {
  const at = text.indexOf(needle, from);
  return at < 0 ? 1 : lineAt(text, at);
}

export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < offset; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

/** Every file is read once a run. */
export class Sources {
  readonly #texts = new Map<string, string>();

  text(file: string): string {
    const known = this.#texts.get(file);
    if (known !== undefined) return known;
    const text = readFileSync(file, "utf8");
    this.#texts.set(file, text);
    return text;
  }
}
