/** One part of the project whose costs are measured: `npm run bench -- <name>`. */
export interface Area {
  readonly name: string;
  /** One line for `--help`. */
  readonly description: string;
  run(options: BenchOptions): Promise<Measured> | Measured;
}

export interface BenchOptions {
  /** Only what the top level of the document and its goals need. */
  readonly quick: boolean;
  /** Takes a line that replaces the one before; only a terminal shows it. */
  readonly progress: (line: string) => void;
}

/** What an area found out. */
export interface Measured {
  /** The document of `--json`: the named figures at its top level, then the goals, then the details. */
  readonly json: Readonly<Record<string, unknown>> & { readonly goals: readonly Goal[] };
  /** The same for a person. */
  readonly table: readonly string[];
}

/** A figure that the design promises. */
export interface Goal {
  /** Its key at the top level of the document. */
  readonly key: string;
  readonly bound: "at most" | "at least";
  readonly goal: number;
  readonly measured: number;
  readonly met: boolean;
}

export function goal(key: string, bound: Goal["bound"], limit: number, measured: number): Goal {
  return { key, bound, goal: limit, measured, met: bound === "at most" ? measured <= limit : measured >= limit };
}

/** A goal in one line. */
export function goalLine({ key, bound, goal: limit, measured, met }: Goal): string {
  return `${met ? "met   " : "MISSED"}  ${key} ${figure(measured)}, ${bound} ${figure(limit)}`;
}

/** A number as people read it: four digits that count, thousands apart. */
export function figure(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1");
}
