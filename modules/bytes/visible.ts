/**
 * A stranger's text, and whatever may have some in it, for a terminal or a page: what the eye would not see, what turns the
 * order of what it sees, and what a terminal takes for an order (control characters, C1 too) is shown as its number:
 * ⟨U+202E⟩.
 */
export function visible(text: string): string {
  return text.replaceAll(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => `⟨U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

/** The same of several lines, whose ends stay. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}
