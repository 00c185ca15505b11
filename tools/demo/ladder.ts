/** How far each board's chain has climbed: held → received → logged → submitted → final. */
export const STEPS = ["held", "received", "logged", "submitted", "final"] as const;
export type Step = (typeof STEPS)[number];

/** Records at each step. */
export type Ladder = Record<Step, number>;

export interface BoardView {
  readonly label: string;
  /** Model of the sensor, for people. */
  readonly sensor: string;
  kid: string | undefined;
  ladder: Ladder;
  /** The newest reading, as text. */
  newest: string;
  problem: string | undefined;
  /** Position of its head when this run found it; -1 of a new chain. */
  resumedSeq: number;
  crashes: number;
  /** Why it does nothing more in this run. */
  over: string | undefined;
}

export function emptyLadder(): Ladder {
  return { held: 0, received: 0, logged: 0, submitted: 0, final: 0 };
}

/** Shows the boards as they climb: a table that redraws itself on a terminal, else a line whenever something moved. */
export class Screen {
  #lines = 0;
  readonly #shown = new Map<string, string>();

  constructor(
    private readonly output: NodeJS.WriteStream,
    private readonly boards: readonly BoardView[],
  ) {}

  get live(): boolean {
    return this.output.isTTY === true;
  }

  /** A line of its own, above the table. */
  say(line: string): void {
    this.#erase();
    this.output.write(`${line}\n`);
    if (this.live) this.draw();
  }

  draw(): void {
    if (!this.live) {
      for (const board of this.boards) this.#plain(board);
      return;
    }
    this.#erase();
    const width = (this.output.columns ?? 80) - 1;
    const rows = [
      `${"board".padEnd(11)}${"sensor".padEnd(7)}${STEPS.map((step) => step.padStart(widthOf(step))).join("")}   newest`,
      ...this.boards.map(row),
      ...this.boards.flatMap(({ label, problem }) => (problem ? [`${label}: ${problem}`] : [])),
    ];
    this.output.write(rows.map((line) => `${line.length > width ? `${line.slice(0, width - 1)}…` : line}\n`).join(""));
    this.#lines = rows.length;
  }

  /** Leaves the table as it stands; what follows is written below. */
  end(): void {
    this.#lines = 0;
  }

  #plain(board: BoardView): void {
    const counts = STEPS.map((step) => `${step} ${board.ladder[step]}`).join(" → ");
    const line = `${board.label.padEnd(11)}${counts}${board.problem ? `   ${board.problem}` : ""}`;
    if (this.#shown.get(board.label) === line) return;
    this.#shown.set(board.label, line);
    this.output.write(`${line}\n`);
  }

  #erase(): void {
    if (this.#lines > 0) this.output.write(`\x1b[${this.#lines}A\x1b[J`);
    this.#lines = 0;
  }
}

function row({ label, sensor, ladder, newest }: BoardView): string {
  const counts = STEPS.map((step) => String(ladder[step]).padStart(widthOf(step))).join("");
  return `${label.padEnd(11)}${sensor.padEnd(7)}${counts}   ${newest}`;
}

/** The word, or six digits, and a space between. */
function widthOf(step: Step): number {
  return Math.max(step.length, 6) + 1;
}
