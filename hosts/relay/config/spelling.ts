/** What somebody may have meant who wrote a word that is not known. */

/** Edits that a word may be away from what was meant: a third of its letters. */
const AWAY_PART = 3;

/** The nearest of the known words; undefined where none is near. A key that stands in another section is near, too. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly away: number } | undefined;
  for (const name of known) {
    const away = lastPart(name) === lastPart(word) ? 1 : distance(word, name);
    if (away <= Math.max(1, Math.floor(word.length / AWAY_PART)) && (best === undefined || away < best.away))
      best = { name, away };
  }
  return best?.name;
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

/** Levenshtein's distance: letters put in, taken out or changed. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
