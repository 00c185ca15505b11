/** Unicode's general categories Cc, Cf, Cs, Zl and Zp, first and last of each run: XS on boards knows no property escapes. */
const UNSEEN: readonly (readonly [number, number])[] = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0xad, 0xad],
  [0x600, 0x605],
  [0x61c, 0x61c],
  [0x6dd, 0x6dd],
  [0x70f, 0x70f],
  [0x890, 0x891],
  [0x8e2, 0x8e2],
  [0x180e, 0x180e],
  [0x200b, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x206f],
  [0xd800, 0xdfff],
  [0xfeff, 0xfeff],
  [0xfff9, 0xfffb],
  [0x110bd, 0x110bd],
  [0x110cd, 0x110cd],
  [0x13430, 0x1343f],
  [0x1bca0, 0x1bca3],
  [0x1d173, 0x1d17a],
  [0xe0000, 0xe007f],
];

/**
 * A stranger's text, and whatever may have some in it, for a terminal or a page: what the eye would not see, what turns the
 * order of what it sees, and what a terminal takes for an order (control characters, C1 too) is shown as its number:
 * ⟨U+202E⟩.
 */
export function visible(text: string): string {
  let shown = "";
  for (const character of text) {
    const point = character.codePointAt(0)!;
    const isSeen = !UNSEEN.some(([first, last]) => first <= point && point <= last);
    shown += isSeen ? character : `⟨U+${point.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  }
  return shown;
}

/** The same of several lines, whose ends stay. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}
