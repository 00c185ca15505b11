/**
 * The rolling scrub: within a stated period everything that is stored is read again and held against what names it, a
 * little at a time, while the relay runs. What was written is checked before it is signed (sequencer.ts); this is for what
 * happens to it afterwards.
 *
 * Each part of the data is so many units, and a pass takes them in their order. At any moment as large a share of the units
 * is done as of the period has passed, so that a unit comes again a period after it came, and at most so many units are
 * read at once. How far the pass is stands in a file: a relay that is started again goes on there, and makes up for the
 * time that it was off. The file is not trusted: losing it costs one pass from the beginning.
 */
import { fromUtf8, utf8 } from "tallystick/bytes/bytes";
import { type Disk, DiskError, PUBLIC_MODE, writeDurable } from "./disk.js";
import type { Finding } from "./tree-check.js";

/** How long a pass takes, where nothing else is said. */
export const SCRUB_PERIOD_MS = 7 * 24 * 60 * 60 * 1000;
/** Units that one round reads: of a bundle and the tiles above it, or of 256 rows. Some tens of milliseconds. */
export const SCRUB_UNITS_PER_ROUND_MAX = 64;
/** Least and most milliseconds between two rounds. */
const ROUND_MIN_MS = 1000;
const ROUND_MAX_MS = 60_000;
/** Units with findings that are kept, and looked at again in each round until they are well; further ones the next pass meets. */
export const FINDINGS_MAX = 64;

/** A part of the data, in units that can be checked each by itself. */
export interface ScrubPart {
  readonly name: string;
  /** How many units there are now; it may grow. */
  units(): number;
  /** What is wrong in one of them. */
  check(unit: number): Promise<readonly Finding[]>;
  /** Its first unit is looked at before all else, whatever the pass has come to. */
  readonly isDue?: boolean;
  /** Ends the check under way, which may then reject. */
  stop?(): void;
}

export interface ScrubOptions {
  readonly parts: readonly ScrubPart[];
  readonly disk: Disk;
  /** Where the position is kept. */
  readonly path: string;
  readonly periodMs: number;
  /** Wall time in milliseconds since 1970: the period goes on while the relay is off. */
  readonly nowMs: () => number;
  /** Hears of each finding once, when it is met first. */
  readonly onFinding: (finding: Finding, part: string) => void;
  /** Hears of the end of a pass. */
  readonly onPass?: (pass: { readonly units: number; readonly startedMs: number }) => void;
  /** A unit could not be checked, or the position not be kept: for the log. */
  readonly onFault: (error: unknown) => void;
}

interface Unit {
  readonly part: ScrubPart;
  readonly unit: number;
}

export class Scrub {
  readonly #options: ScrubOptions;
  #startedMs: number;
  /** Units done in this pass, by part. */
  #done = new Map<string, number>();
  /** Units in which something was found. */
  readonly #suspects = new Map<string, Unit & { readonly findings: readonly Finding[] }>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #closed = false;
  /** What the file holds. */
  #kept = "";

  private constructor(options: ScrubOptions) {
    this.#options = options;
    this.#startedMs = options.nowMs();
  }

  /** Takes up the pass that was under way. */
  static async open(options: ScrubOptions): Promise<Scrub> {
    const scrub = new Scrub(options);
    for (const part of options.parts)
      if (part.isDue) scrub.#suspects.set(`${part.name} 0`, { part, unit: 0, findings: [] });
    await scrub.#resume();
    return scrub;
  }

  /** What is wrong now, as far as it was seen; empty once the damaged files are restored and looked at again. */
  get findings(): readonly Finding[] {
    return [...this.#suspects.values()].flatMap(({ findings }) => findings);
  }

  /** Begins to read at its own pace. */
  start(): void {
    if (this.#closed) return;
    const units = this.#options.parts.reduce((sum, part) => sum + part.units(), 0);
    const wait = this.#options.periodMs / Math.max(1, units);
    this.#timer = setTimeout(
      () => void this.round().finally(() => this.start()),
      Math.min(ROUND_MAX_MS, Math.max(ROUND_MIN_MS, wait)),
    );
    this.#timer.unref();
  }

  /** Reads what is due now, bounded, and keeps the position. Never throws. */
  round(): Promise<void> {
    this.#round = this.#round.then(() => this.#run());
    return this.#round;
  }

  async #run(): Promise<void> {
    if (this.#closed) return;
    try {
      for (const { part, unit } of [...this.#suspects.values()]) if (!this.#closed) await this.#check(part, unit);
      let room = SCRUB_UNITS_PER_ROUND_MAX;
      const { nowMs, periodMs, parts } = this.#options;
      // A clock that was set back must not stop the scrub: the pass then began now.
      if (this.#startedMs > nowMs()) this.#startedMs = nowMs();
      const share = (nowMs() - this.#startedMs) / periodMs;
      for (const part of parts) {
        const due = Math.min(part.units(), Math.ceil(part.units() * share));
        let done = this.#done.get(part.name) ?? 0;
        for (; done < due && room > 0 && !this.#closed; done++, room--) await this.#check(part, done);
        this.#done.set(part.name, done);
      }
      if (share >= 1 && parts.every((part) => (this.#done.get(part.name) ?? 0) >= part.units())) this.#begin();
      await this.#keep();
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  async #check(part: ScrubPart, unit: number): Promise<void> {
    const name = `${part.name} ${unit}`;
    const before = this.#suspects.get(name)?.findings ?? [];
    let findings: readonly Finding[];
    try {
      findings = await part.check(unit);
    } catch (error) {
      if (this.#closed) return;
      // One unit that cannot be looked at just now keeps nobody from the others; it is looked at again in each round.
      this.#options.onFault(error);
      if (this.#suspects.size < FINDINGS_MAX) this.#suspects.set(name, { part, unit, findings: before });
      return;
    }
    for (const finding of findings)
      if (!this.findings.some(({ where }) => where === finding.where)) this.#options.onFinding(finding, part.name);
    if (findings.length === 0) this.#suspects.delete(name);
    else if (before.length > 0 || this.#suspects.size < FINDINGS_MAX)
      this.#suspects.set(name, { part, unit, findings });
  }

  #begin(): void {
    const { onPass, nowMs } = this.#options;
    const units = [...this.#done.values()].reduce((sum, done) => sum + done, 0);
    onPass?.({ units, startedMs: this.#startedMs });
    this.#startedMs = nowMs();
    this.#done = new Map();
  }

  async #resume(): Promise<void> {
    const { disk, path } = this.#options;
    try {
      const bytes = await disk.read(path);
      const state: unknown = bytes && JSON.parse(fromUtf8(bytes) ?? "");
      if (!isState(state)) return;
      this.#startedMs = state.started_ms;
      this.#done = new Map(Object.entries(state.done));
      for (const [name, unit] of state.suspects) {
        const part = this.#options.parts.find((each) => each.name === name);
        if (part && unit < part.units() && this.#suspects.size < FINDINGS_MAX)
          this.#suspects.set(`${name} ${unit}`, { part, unit, findings: [] });
      }
    } catch (error) {
      // What cannot be read is begun again.
      if (!(error instanceof DiskError || error instanceof SyntaxError)) throw error;
    }
  }

  async #keep(): Promise<void> {
    const { disk, path } = this.#options;
    const suspects = [...this.#suspects.values()].map(({ part, unit }) => [part.name, unit] as const);
    const state: State = { format: 1, started_ms: this.#startedMs, done: Object.fromEntries(this.#done), suspects };
    const text = `${JSON.stringify(state)}\n`;
    if (this.#kept === text) return;
    await writeDurable(disk, path, utf8(text), PUBLIC_MODE);
    this.#kept = text;
  }

  /** Ends the round under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed = true;
    for (const part of this.#options.parts) part.stop?.();
    await this.#round;
  }
}

interface State {
  readonly format: 1;
  readonly started_ms: number;
  readonly done: Readonly<Record<string, number>>;
  /** Units in which something was found: the next start looks there first. */
  readonly suspects: readonly (readonly [part: string, unit: number])[];
}

function isState(value: unknown): value is State {
  if (typeof value !== "object" || value === null) return false;
  const { format, started_ms, done, suspects } = value as Record<string, unknown>;
  if (format !== 1 || !Number.isSafeInteger(started_ms) || typeof done !== "object" || done === null) return false;
  if (!Array.isArray(suspects) || suspects.length > FINDINGS_MAX || !suspects.every(Array.isArray)) return false;
  return [...Object.values(done), ...suspects.map(([, unit]) => unit)].every(isCount);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
