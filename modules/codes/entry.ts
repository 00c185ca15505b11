/** What a code means, what to do about it, and the HTTP status that the relay answers it with. */
export interface CodeEntry {
  readonly means: string;
  readonly todo: string;
  readonly status: number;
}

export function entry(status: number, means: string, todo: string): CodeEntry {
  // Frozen objects of a preloaded module cost a board's memory nothing.
  return Object.freeze({ status, means, todo });
}
