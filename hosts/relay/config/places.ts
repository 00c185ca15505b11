/**
 * Where in a TOML text each key stands. The parser gives values without their places; this finds the places, of a text
 * that the parser has already taken, so that it need not judge anything.
 */

export interface Place {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

/** Places of keys and tables by their path, such as `http.port`; of what stands in an inline table, that of the table. */
export function placesOf(text: string): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  const scan = new Scan(text);
  let table: string[] = [];
  while (scan.toStatement()) {
    const at = scan.place();
    const isHeader = scan.takes("[");
    if (isHeader) scan.takes("[");
    const path = scan.dotted();
    const full = isHeader ? path : [...table, ...path];
    if (isHeader) table = path;
    // A path's earlier parts stand there, too, where no header names them.
    for (let length = 1; length <= full.length; length++) {
      const name = full.slice(0, length).join(".");
      if (!places.has(name)) places.set(name, at);
    }
    scan.toEndOfStatement();
  }
  return places;
}

const BARE = /[A-Za-z0-9_-]/;

class Scan {
  readonly #text: string;
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string) {
    this.#text = text;
  }

  place(): Place {
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  /** Goes to the next key or header; false at the end. */
  toStatement(): boolean {
    while (this.#at < this.#text.length) {
      const next = this.#text[this.#at]!;
      if (next === "#") this.#toLineEnd();
      else if (/\s/.test(next)) this.#step();
      else return true;
    }
    return false;
  }

  takes(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#step();
    return true;
  }

  /** A dotted key, up to what follows it. */
  dotted(): string[] {
    const path: string[] = [];
    for (;;) {
      this.#blanks();
      path.push(this.#key());
      this.#blanks();
      if (!this.takes(".")) return path;
    }
  }

  /** Over a header's brackets or a value, which may be of several lines. */
  toEndOfStatement(): void {
    let depth = 0;
    while (this.#at < this.#text.length) {
      const next = this.#text[this.#at]!;
      if (next === "\n" && depth === 0) return;
      if (next === "#") this.#toLineEnd();
      else if (next === '"' || next === "'") this.#string(next);
      else {
        if (next === "[" || next === "{") depth++;
        // A header's own closing brackets have no opening ones here.
        if ((next === "]" || next === "}") && depth > 0) depth--;
        this.#step();
      }
    }
  }

  #key(): string {
    const quote = this.#text[this.#at]!;
    const start = this.#at;
    if (quote === '"' || quote === "'") {
      this.#string(quote);
      return this.#text.slice(start + 1, this.#at - 1);
    }
    while (this.#at < this.#text.length && BARE.test(this.#text[this.#at]!)) this.#step();
    return this.#text.slice(start, this.#at);
  }

  #string(quote: string): void {
    const long = this.#text.startsWith(quote.repeat(3), this.#at);
    const end = long ? quote.repeat(3) : quote;
    this.#skip(end.length);
    while (this.#at < this.#text.length && !this.#text.startsWith(end, this.#at))
      this.#skip(quote === '"' && this.#text[this.#at] === "\\" ? 2 : 1);
    this.#skip(end.length);
    // Up to two more quotes belong to a long string's text.
    if (long) while (this.#text[this.#at] === quote) this.#step();
  }

  #blanks(): void {
    while (this.#text[this.#at] === " " || this.#text[this.#at] === "\t") this.#step();
  }

  #toLineEnd(): void {
    while (this.#at < this.#text.length && this.#text[this.#at] !== "\n") this.#step();
  }

  #skip(count: number): void {
    for (let n = 0; n < count && this.#at < this.#text.length; n++) this.#step();
  }

  #step(): void {
    if (this.#text[this.#at] === "\n") {
      this.#line++;
      this.#lineStart = this.#at + 1;
    }
    this.#at++;
  }
}
