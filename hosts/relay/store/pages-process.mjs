// A process that looks at every page of a SQLite file, for pages.ts: `node pages-process.mjs FILE` writes one line of JSON.
// Plain JavaScript, so that it needs no loader. It reads as of one moment and changes nothing; while it does, the database's
// write-ahead log grows by what is written.
import Sqlite from "better-sqlite3";

function look(path) {
  try {
    const database = new Sqlite(path, { readonly: true, fileMustExist: true });
    const verdict = database.pragma("quick_check(1)", { simple: true });
    return verdict === "ok" ? {} : { damage: String(verdict) };
  } catch (error) {
    const { code = "", message } = error;
    return /^SQLITE_(?:CORRUPT|NOTADB|IOERR)/.test(code) ? { damage: message } : { failure: message };
  }
}

process.stdout.write(`${JSON.stringify(look(process.argv[2]))}\n`);
