import { type Logger, pino } from "pino";

/**
 * The relay's log: one line of JSON an event. `event` is one of few stable names (README.md beside this file has the
 * table), what belongs to it stands in members of its own. Text from outside stands in JSON strings only, cut where it can
 * be long; secrets stand nowhere.
 */

/** Bytes of lines that wait for a disk that is full; further ones are dropped. */
const WAITING_MAX_BYTES = 1024 * 1024;

/** On standard error, written before the call returns: the line before a crash is the one that is wanted. */
export function createLogger(level: string): Logger {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: WAITING_MAX_BYTES });
  // A full disk under the log keeps nobody from bringing records: without a listener it would be thrown at whoever logs.
  destination.on("error", () => undefined);
  return pino(
    {
      level,
      base: null,
      messageKey: "event",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/** Longest text of a stranger's in a line. */
export const LOGGED_TEXT_MAX = 200;
