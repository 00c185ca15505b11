import { entry } from "./entry.js";

/** Codes about bodies that were erased on request; part of the one table. */
export const ERASURE_CODES = Object.freeze({
  RECORD_ERASED: entry(
    410,
    "the record's bytes were erased on request",
    "its id, its place in chain and log, and its receipt are still there; only who has kept the bytes can show them",
  ),
  LOG_ENTRY_ERASED: entry(
    410,
    "a body that belongs here was erased from the log on request",
    "verify by the tiles, which stay; ask for the bundle's other records one by one, by their ids",
  ),
  ERASURE_REFUSED: entry(
    409,
    "these positions cannot be erased",
    "nothing was changed: leave out what verification of the rest needs, and what stands at no position",
  ),
  ERASURE_UNFINISHED: entry(
    503,
    "an erasure was decided and is not carried out yet",
    "a running relay finishes it within its next rounds, any other at its next start; its log says what stands in the way",
  ),
  ERASURES_CORRUPT: entry(
    500,
    "the list of what was erased cannot be read",
    "move log/lock/erasures aside: the next start writes it again from the database, which holds the same",
  ),
});
