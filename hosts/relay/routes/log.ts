import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { FastifyInstance, FastifyReply } from "fastify";
import { fail } from "tallystick/codes/codes";
import { CHECKPOINT_PATH, parseTilePath, TILE_WIDTH, tilePath } from "tallystick/log/tile";
import Type from "typebox";
import { Refused } from "../problem.js";

/** The log as C2SP tlog-tiles lays it out: the files of its public folder, as any file server would give them. */

/** RFC 8246; full tiles never change, and partial ones only give way to wider ones of another name. */
const FOR_EVER = "public, max-age=31536000, immutable";

export interface LogRoutesOptions {
  readonly publicFolder: string;
  /** Whether a bundle holds entries that were erased. */
  readonly withholds: (bundle: number) => boolean;
}

export function logRoutes(app: FastifyInstance, { publicFolder, withholds }: LogRoutesOptions): void {
  app.get(`/${CHECKPOINT_PATH}`, { schema: { summary: "The newest checkpoint, a signed note" } }, (_request, reply) =>
    sendFile(reply.header("cache-control", "no-cache").type("text/plain; charset=utf-8"), CHECKPOINT_PATH, ""),
  );

  app.get<{ Params: { "*": string } }>(
    "/tile/*",
    { schema: { summary: "A tile, or a bundle of entries", params: Type.Object({ "*": Type.String() }) } },
    (request, reply) => {
      const name = parseTilePath(`tile/${request.params["*"]}`);
      if (!name) throw new Refused(fail("ROUTE_UNKNOWN", "expected the path of a tile as C2SP tlog-tiles spells it"));
      if (name.level === "entries" && withholds(name.index))
        throw new Refused(fail("LOG_ENTRY_ERASED", `${tilePath(name)} would hold an entry that was erased`));
      const full = name.width === TILE_WIDTH ? "" : tilePath({ ...name, width: TILE_WIDTH });
      return sendFile(reply.header("cache-control", FOR_EVER).type("application/octet-stream"), tilePath(name), full);
    },
  );

  /** A partial tile may have given way to the full one, which begins with it: the sender is told where to look. */
  async function sendFile(reply: FastifyReply, path: string, otherwise: string): Promise<FastifyReply> {
    const bytes = await readIfThere(join(publicFolder, path));
    if (bytes) return reply.send(bytes);
    const hint = otherwise === "" ? "" : `; if the log has grown past it, it is part of ${otherwise}`;
    throw new Refused(fail("LOG_ENTRY_UNKNOWN", `${path} is not in the log${hint}`));
  }
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
