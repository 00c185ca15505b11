import type { Source } from "./sources.mjs";

/** Where the engine's sources and everything built from them are kept. */
export const ENGINE_CACHE: string;

/** The folder of one source's files, whether it is there or not. */
export function sourceFolder(source: Source): string;

/** The sources that are not there yet. */
export function missingSources(): Source[];

/** Fetches what is missing; throws an Error whose message is one line that says what to do. */
export function fetchSources(): void;
