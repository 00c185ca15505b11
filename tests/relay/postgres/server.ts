import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";

/** A PostgreSQL server of a test's own, out of Debian's package: started in a temporary folder, stopped and removed after. */

const VERSIONS = "/usr/lib/postgresql";
const READY_MAX_MS = 20_000;
/** PostgreSQL's programs refuse root. */
const USER = "nobody";
export const PASSWORD = "geheim-7f3a";

/** Where the server's programs are; undefined where it is not installed. */
export function programs(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(VERSIONS, version, "bin")).find((bin) => existsSync(join(bin, "initdb")));
}

export class PostgresServer {
  readonly port: number;
  readonly folder: string;
  readonly #bin: string;
  #child: ChildProcess | undefined;
  #databases = 0;

  private constructor(bin: string, folder: string, port: number) {
    this.#bin = bin;
    this.folder = folder;
    this.port = port;
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
    const bin = programs();
    if (!bin) throw new Error("PostgreSQL is not installed");
    const folder = mkdtempSync(join(tmpdir(), "tallystick-postgres-"));
    const account = accountOf();
    if (account) chownSync(folder, account.uid, account.gid);
    const passwordFile = join(folder, "password");
    execFileSync("sh", ["-c", `umask 077; printf '%s' '${PASSWORD}' > '${passwordFile}'`], { ...account, cwd: folder });
    const data = join(folder, "data");
    const options = ["--auth=scram-sha-256", `--pwfile=${passwordFile}`, "--encoding=UTF8", "--locale=C", "--no-sync"];
    execFileSync(join(bin, "initdb"), ["-D", data, "-U", "relay", ...options], {
      ...account,
      cwd: folder,
      stdio: "pipe",
    });
    const server = new PostgresServer(bin, folder, await freePort());
    await server.run(settings);
    return server;
  }

  /** Runs it again on what it left. */
  async run(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const all = {
      listen_addresses: "127.0.0.1",
      port: String(this.port),
      unix_socket_directories: this.folder,
      shared_buffers: "16MB",
      autovacuum: "off",
      ...settings,
    };
    const args = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = spawn(join(this.#bin, "postgres"), ["-D", join(this.folder, "data"), ...args], {
      ...accountOf(),
      cwd: this.folder,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    let words = "";
    child.stderr!.on("data", (data: Buffer) => {
      words += data.toString();
    });
    const deadline = Date.now() + READY_MAX_MS;
    while (!(await this.answers())) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`PostgreSQL did not start: ${words}`);
    }
  }

  async answers(): Promise<boolean> {
    const sql = postgres(this.url("postgres"), { max: 1, connect_timeout: 2, onnotice: () => undefined });
    try {
      await sql`SELECT 1`;
      return true;
    } catch {
      return false;
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  url(database: string): string {
    return `postgres://relay:${PASSWORD}@127.0.0.1:${this.port}/${database}`;
  }

  /** A blank database, or a copy of another, which nobody may then be connected to. */
  async database(template?: string): Promise<string> {
    const name = `test_${process.pid}_${++this.#databases}`;
    await this.sql("postgres", `CREATE DATABASE ${name}${template === undefined ? "" : ` TEMPLATE ${template}`}`);
    return name;
  }

  async sql(database: string, text: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const sql = postgres(this.url(database), { max: 1, onnotice: () => undefined });
    try {
      return [...(await sql.unsafe(text))] as Record<string, unknown>[];
    } finally {
      await sql.end({ timeout: 5 });
    }
  }

  /** The server's processes end at once, as if the power had failed, or as one that is told to stop. */
  async stop(signal: "SIGKILL" | "SIGQUIT" | "SIGINT"): Promise<void> {
    const child = this.#child!;
    const exited = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
    child.kill(signal);
    await exited;
    this.#child = undefined;
  }

  async close(): Promise<void> {
    if (this.#child) await this.stop("SIGINT");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** For a process that ends without having closed it. */
  abandon(): void {
    this.#child?.kill("SIGQUIT");
  }
}

/** Root runs it as somebody else. */
function accountOf(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => Number(spawnSync("id", [flag, USER], { encoding: "utf8" }).stdout);
  return { uid: id("-u"), gid: id("-g") };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
