/** How long a stop may take. Whatever is cut off comes again, or was durable before. */

/** For requests under way; a client that has not finished by then is cut off. */
export const STOP_REQUESTS_MAX_MS = 10_000;
/** From the request to stop to the process's end: the log may have thousands of entries to write. */
export const STOP_MAX_MS = 25_000;
