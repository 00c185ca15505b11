import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where a PostgreSQL server is, as an operator writes it: `postgres://user:password@host:port/database?sslmode=verify-full`. */

export interface PostgresPlace {
  readonly host: string;
  readonly port: number;
  /** Of a server on this machine: the socket's path, in place of host and port. */
  readonly path?: string;
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  /** `disable`; `require` encrypts and believes any certificate; `verify-full` does not. */
  readonly ssl: "disable" | "require" | "verify-full";
  /** Certificates in PEM that the server's must lead to, with `verify-full`, in place of the system's. */
  readonly caFile?: string;
}

export const POSTGRES_URL =
  "postgres://user@host:port/database, with no query but host=/socket/folder, sslmode=disable|require|verify-full, sslrootcert=FILE";

const DEFAULT_PORT = 5432;
const SSL_MODES = ["disable", "require", "verify-full"] as const;
const PASSFILE_MAX_BYTES = 65_536;

/** Undefined where `url` is not such an address. */
export function parsePlace(url: string): PostgresPlace | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, port, pathname, username, password, searchParams, hash } = new URL(url);
  const [database, user] = [decoded(pathname.slice(1)), decoded(username)];
  if (!["postgres:", "postgresql:"].includes(protocol) || !database || !user || hash !== "") return undefined;
  const known = ["host", "sslmode", "sslrootcert"];
  if ([...searchParams.keys()].some((key) => !known.includes(key))) return undefined;
  const folder = searchParams.get("host") ?? undefined;
  const number = port === "" ? DEFAULT_PORT : Number(port);
  if (folder === undefined ? hostname === "" : hostname !== "" && hostname !== "localhost") return undefined;
  if (folder !== undefined && !folder.startsWith("/")) return undefined;
  const ssl = SSL_MODES.find((mode) => mode === (searchParams.get("sslmode") ?? "disable"));
  const secret = decoded(password);
  const caFile = searchParams.get("sslrootcert") ?? undefined;
  if (!ssl || secret === undefined || (caFile !== undefined && ssl !== "verify-full")) return undefined;
  return {
    host: hostname === "" ? "localhost" : hostname.replace(/^\[|\]$/g, ""),
    port: number,
    database,
    user,
    ssl,
    ...(folder !== undefined && { path: join(folder, `.s.PGSQL.${number}`) }),
    ...(secret !== "" && { password: secret }),
    ...(caFile !== undefined && { caFile }),
  };
}

/** What may be shown of it. */
export function nameOfPlace({ host, port, path, database }: PostgresPlace): string {
  return `${database} at ${path ?? `${host}:${port}`}`;
}

/** The password: of the address, of PGPASSWORD, or of the passfile (PGPASSFILE or ~/.pgpass), the first that there is. */
export function passwordOf(place: PostgresPlace, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (place.password !== undefined) return place.password;
  if (environment["PGPASSWORD"]) return environment["PGPASSWORD"];
  const file = environment["PGPASSFILE"] || join(homedir(), ".pgpass");
  // Like PostgreSQL's own programs: a file that others may read is passed over, and so is what is too large for one.
  if (!existsSync(file)) return undefined;
  const { mode, size } = statSync(file);
  if ((mode & 0o077) !== 0 || size > PASSFILE_MAX_BYTES) return undefined;
  const wanted = [place.path === undefined ? place.host : "localhost", String(place.port), place.database, place.user];
  for (const line of readFileSync(file, "utf8").split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    const fields = (line.match(/(?:\\.|[^:\\])*(?::|$)/g) ?? []).map((field) =>
      field.replace(/:$/, "").replace(/\\(.)/g, "$1"),
    );
    if (fields.length >= 5 && wanted.every((value, i) => fields[i] === "*" || fields[i] === value)) return fields[4];
  }
  return undefined;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
