import { execFileSync } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SOURCES } from "../engine/sources.mjs";

/**
 * The bill of materials, CycloneDX as `npm sbom` writes it from package-lock.json, with the engine's sources beside: those
 * are fetched by their own pins (tools/engine/sources.mjs) and stand in no lock file. `npm run sbom` prints it.
 */

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SBOM_MAX_BYTES = 16 * 1024 * 1024;

export interface Component {
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  /** `content` in hexadecimal. */
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

export interface Sbom {
  readonly bomFormat: string;
  readonly components: readonly Component[];
}

/** Asks npm, without a network: the lock file is all that it reads. Throws where npm fails. */
export function makeSbom(): Sbom {
  const args = ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"];
  const text = execFileSync("npm", args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: SBOM_MAX_BYTES,
    shell: process.platform === "win32",
  });
  const made = JSON.parse(text) as Sbom;
  return { ...made, components: [...made.components, ...SOURCES.map(engineSource)] };
}

function engineSource({ name, version, integrity, licence }: (typeof SOURCES)[number]) {
  return {
    "bom-ref": `${name}@${version} (engine)`,
    type: "library",
    name,
    version,
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    hashes: [{ alg: "SHA-512", content: hashOf(integrity) }],
    licenses: [{ license: { id: licence } }],
  };
}

/** The hexadecimal digits of a lock file's `sha512-…`. */
export function hashOf(integrity: string): string {
  return Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log(JSON.stringify(makeSbom(), null, 2));
