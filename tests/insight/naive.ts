/**
 * The rules of insight/SPEC.md once more, over all samples at once and without a thought for memory or limits on telling:
 * what `Watch` finds one by one must be this.
 */

export interface Sample {
  /** Undefined: the fault `range`. */
  readonly value: number | undefined;
  readonly atMs: number;
}

export interface NaiveBounds {
  readonly minimum: number;
  readonly maximum: number;
  readonly stuckMs: number;
  readonly jump: number;
  readonly jumpPerMinute: number;
}

export interface NaiveFinding {
  readonly word: string;
  /** Index of the sample by which it is found. */
  readonly by: number;
  /** Indices of the samples whose records it names. */
  readonly names: readonly number[];
}

export function findAll(samples: readonly Sample[], bounds: NaiveBounds): NaiveFinding[] {
  const found: NaiveFinding[] = [];
  const values = samples.flatMap(({ value, atMs }, at) => (value === undefined ? [] : [{ value, atMs, at }]));
  const beyond = ({ value }: Sample) => value === undefined || value < bounds.minimum || value > bounds.maximum;

  for (let i = 1; i < values.length; i++) {
    const [a, b] = [values[i - 1]!, values[i]!];
    const most = bounds.jump + bounds.jumpPerMinute * ((b.atMs - a.atMs) / 60_000);
    if (Math.abs(b.value - a.value) > most) found.push({ word: "jump", by: b.at, names: [a.at, b.at] });
  }

  for (let from = 0; from < values.length; ) {
    let to = from;
    while (to + 1 < values.length && values[to + 1]!.value === values[from]!.value) to++;
    const { value } = values[from]!;
    const by = values.findIndex(
      ({ atMs }, i) => i >= from + 63 && i <= to && atMs - values[from]!.atMs >= bounds.stuckMs,
    );
    if (value > bounds.minimum && value < bounds.maximum && by >= 0) {
      found.push({ word: "stuck", by: values[by]!.at, names: [values[from]!.at, values[by]!.at] });
      const other = values[to + 1];
      if (other) found.push({ word: "stuck-end", by: other.at, names: [values[to]!.at, other.at] });
    }
    from = to + 1;
  }

  for (let at = 0, ended = -1; at < samples.length; at++) {
    if (at <= ended || !beyond(samples[at]!)) continue;
    found.push({ word: "range", by: at, names: [at] });
    // The first place from which sixteen in a row are within.
    ended = samples.findIndex((_, end) => end >= at + 16 && !samples.slice(end - 15, end + 1).some(beyond));
    if (ended < 0) break;
    const last = samples.slice(0, ended - 15).findLastIndex(beyond);
    found.push({ word: "range-end", by: ended, names: [last, ended] });
  }
  return found.sort((a, b) => a.by - b.by);
}
