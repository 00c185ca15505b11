import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Debian puts it where no user's PATH leads. */
const PLACES = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
const START_MAX_MS = 10_000;
const ASK_AGAIN_MS = 20;

/** Skips, aloud, where there is no mosquitto. */
export function needMosquitto(context: Mocha.Context): void {
  if (program() !== undefined) return;
  console.log("      SKIPPED, no broker ran: mosquitto is not installed (Debian: mosquitto)");
  context.skip();
}

function program(): string | undefined {
  return PLACES.find((place) => spawnSync(place, ["-h"]).error === undefined);
}

export interface MosquittoOptions {
  /** Lines of mosquitto.conf beside those that every test needs. */
  readonly lines?: readonly string[];
  /** Files that lines name as `FOLDER/name`. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A real broker of its own, on a free port of this machine, that may be killed and come back. */
export class Mosquitto {
  readonly port: number;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.#folder = folder;
  }

  static async start({ lines = ["allow_anonymous true"], files = {} }: MosquittoOptions = {}): Promise<Mosquitto> {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-mosquitto-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 });
    const port = await freePort();
    const own = lines.map((line) => line.replace("FOLDER", folder));
    // As root it would become another user, who may not read this folder.
    const user = process.getuid?.() === 0 ? ["user root"] : [];
    const all = [
      `listener ${port} 127.0.0.1`,
      "persistence false",
      "set_tcp_nodelay true",
      "log_dest stderr",
      ...user,
      ...own,
    ];
    writeFileSync(join(folder, "mosquitto.conf"), `${all.join("\n")}\n`);
    const broker = new Mosquitto(port, folder);
    await broker.run();
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async run(): Promise<void> {
    const child = spawn(program()!, ["-c", join(this.#folder, "mosquitto.conf")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    let told = "";
    child.stderr!.on("data", (data: Buffer) => {
      told = `${told}${data}`.slice(-2000);
    });
    const deadline = Date.now() + START_MAX_MS;
    while (!(await listens(this.port))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`mosquitto did not start: ${told}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  /** As the power would end it. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("close", () => socket.destroy());
    socket.once("connect", () => socket.end());
  });
}
