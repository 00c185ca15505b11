import { type Logger, pino } from "pino";

/**
 * The relay's log: one line of JSON an event. `event` is one of few stable names (README.md beside this file has the
 * table), what belongs to it stands in members of its own. Text from outside stands in JSON strings only, cut where it can
 * be long; secrets stand nowhere.
 */

/** On standard error, written before the call returns: the line before a crash is the one that is wanted. */
export function createLogger(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      messageKey: "event",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Longest text of a stranger's in a line. */
export const LOGGED_TEXT_MAX = 200;
