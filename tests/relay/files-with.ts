import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Files below `folder` that hold any of the bodies, or the part of one that no other record has: its signature. */
export function filesWith(folder: string, bodies: readonly Uint8Array[]): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    statSync(join(folder, file)).isFile(),
  );
  const parts = bodies.flatMap((body) => [Buffer.from(body), Buffer.from(body.slice(-64))]);
  return files.filter((file) => {
    const bytes = readFileSync(join(folder, file));
    return parts.some((part) => bytes.includes(part));
  });
}
