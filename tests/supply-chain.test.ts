import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SOURCES } from "../tools/engine/sources.mjs";
import { hashOf, makeSbom } from "../tools/sbom/sbom.js";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly overrides: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

/** What runs while it is installed, and what stands in for that after `npm ci --ignore-scripts`. A new one has to be looked at. */
const INSTALL_SCRIPTS: Readonly<Record<string, string>> = {
  tallystick: "fetches the engine's sources by their hashes: node tools/engine/fetch.mjs",
  "better-sqlite3": "brings or compiles its addon, the only one that is needed: npm rebuild better-sqlite3",
  esbuild: "puts the binary in the place of its JavaScript launcher, which works as it is",
  "@foundry-rs/anvil": "looks for the binary that the relay starts from its own package: never run (allowScripts)",
};

describe("supply chain", () => {
  const manifest = read<Manifest>("package.json");
  const lock = read<{ readonly packages: Readonly<Record<string, Locked>> }>("package-lock.json").packages;
  const packages = Object.entries(lock).filter(([path]) => path !== "");

  it("names every dependency by one exact version, which is the one in the lock file", () => {
    const wanted = { ...manifest.dependencies, ...manifest.devDependencies };
    for (const [name, version] of Object.entries({ ...wanted, ...manifest.overrides })) {
      assert.match(version, /^\d+\.\d+\.\d+(-[\w.-]+)?$/, `${name} ${version}`);
      assert.equal(lock[`node_modules/${name}`]?.version, version, name);
    }
  });

  it("has the hash of every package in the lock file, other systems' too, and of the engine's sources", () => {
    assert.ok(packages.length > 100, `found ${packages.length} packages`);
    const without = packages.filter(([, { integrity }]) => !isHash(integrity)).map(([path]) => path);
    assert.deepEqual(without, []);
    assert.ok(SOURCES.length > 0);
    for (const { name, version, integrity } of SOURCES) {
      assert.ok(isHash(integrity), name);
      assert.match(version, /^\d+\.\d+\.\d+$/, name);
    }
  });

  it("knows every install script that there is, and what to do without it", () => {
    const found = packages.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => nameOf(path));
    const own = ["preinstall", "install", "postinstall", "prepare"].filter((each) => each in manifest.scripts);
    assert.deepEqual(own, ["postinstall"]);
    assert.deepEqual([...found, "tallystick"].sort(), Object.keys(INSTALL_SCRIPTS).sort());
    // npm asks nobody about those that it is told of here: each is decided about.
    assert.deepEqual(Object.keys(manifest.allowScripts).sort(), found.sort());
  });

  it("has a bill of materials that names every locked package and the engine's sources, each with its hash", () => {
    const { bomFormat, components } = makeSbom();
    assert.equal(bomFormat, "CycloneDX");
    const listed = new Map(components.map(({ name, version, hashes }) => [`${name}@${version}`, hashes]));
    const expected = [
      ...packages.map(([path, { version, integrity }]) => ({ name: nameOf(path), version, integrity: integrity! })),
      ...SOURCES,
    ];
    for (const { name, version, integrity } of expected) {
      const hashes = listed.get(`${name}@${version}`);
      assert.ok(hashes, `${name}@${version} is in the bill`);
      const hash = hashes.find(({ alg }) => alg === "SHA-512")?.content;
      assert.equal(hash, hashOf(integrity), `${name}@${version}`);
    }
    const names = new Set(expected.map(({ name, version }) => `${name}@${version}`));
    assert.deepEqual(
      [...listed.keys()].filter((name) => !names.has(name)),
      [],
      "and nothing else",
    );
  });
});

function read<T>(name: string): T {
  return JSON.parse(readFileSync(`${ROOT}${name}`, "utf8")) as T;
}

function nameOf(path: string): string {
  return path.split("node_modules/").at(-1)!;
}

/** SHA-512, in the spelling that a lock file has. */
function isHash(integrity: string | undefined): boolean {
  return integrity !== undefined && /^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity);
}
