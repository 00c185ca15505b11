/**
 * Compiles the anchor contract with npm's solc at exact settings: same source, same compiler, same bytes, on every
 * machine. The result is cached by content, since loading the compiler takes about a second.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fail, ok, type Result } from "tallystick/codes/codes";

/** What a client needs to deploy and call the contract. */
export interface Artifact {
  /** The contract's ABI as JSON describes it. */
  readonly abi: readonly unknown[];
  /** Creation code, `0x` and lower-case hexadecimal; the constructor's argument (the relay's address) is appended to it. */
  readonly bytecode: `0x${string}`;
  /** The compiler, `0.8.37+commit.…`. */
  readonly compiler: string;
}

export interface CompileOptions {
  /** Solidity source; Anchor.sol beside this file by default. */
  readonly sourceFile?: string;
  /** Where compiled artifacts are kept; the project's .cache/contracts by default. */
  readonly cacheDir?: string;
}

const SOURCE_FILE = fileURLToPath(new URL("./Anchor.sol", import.meta.url));
const CACHE_DIR = fileURLToPath(new URL("../../.cache/contracts/", import.meta.url));

/** The one compiler that these settings were tried with; another one would give other bytes under the same name. */
const COMPILER_VERSION = "0.8.37";

/**
 * `paris` has neither PUSH0 nor transient storage: the same code runs on permissioned chains that lag behind.
 * Without metadata the code depends on nothing but the source and the compiler.
 */
const SETTINGS = {
  optimizer: { enabled: true, runs: 10_000 },
  evmVersion: "paris",
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { Anchor: ["abi", "evm.bytecode.object", "storageLayout"] } },
} as const;

/** The layout that modules/evidence/evm.ts reads by slot. */
const LAYOUT = "size:0:0:t_uint64 root:0:1:t_bytes32";

/** Compiles Anchor.sol or finds it compiled. CONTRACT_COMPILE_FAILED tells the compiler's first error. */
export async function compileAnchor(options: CompileOptions = {}): Promise<Result<Artifact>> {
  const sourceFile = options.sourceFile ?? SOURCE_FILE;
  const cacheDir = options.cacheDir ?? CACHE_DIR;
  let source: string;
  try {
    // Git may check out CRLF; the compiler must see the same bytes everywhere.
    source = (await readFile(sourceFile, "utf8")).replaceAll("\r\n", "\n");
  } catch (error) {
    return failed(`cannot read ${sourceFile}: ${reason(error)}`);
  }
  const input = JSON.stringify({
    language: "Solidity",
    sources: { "Anchor.sol": { content: source } },
    settings: SETTINGS,
  });
  const key = createHash("sha256").update(`${COMPILER_VERSION}\n${input}`).digest("hex");
  const cacheFile = join(cacheDir, `Anchor-${key}.json`);
  const cached = await readCached(cacheFile);
  if (cached !== undefined) return ok(cached);
  const artifact = compile(input);
  if (artifact.ok) await writeCached(cacheDir, cacheFile, artifact.value);
  return artifact;
}

interface Solc {
  version(): string;
  compile(input: string): string;
}

interface Output {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: Readonly<Record<string, Readonly<Record<string, Contract>>>>;
}

interface Contract {
  readonly abi: readonly unknown[];
  readonly evm: { readonly bytecode: { readonly object: string } };
  readonly storageLayout: {
    readonly storage: readonly { label: string; offset: number; slot: string; type: string }[];
  };
}

function compile(input: string): Result<Artifact> {
  let output: Output;
  let compiler: string;
  try {
    const solc = loadSolc();
    compiler = solc.version();
    if (!compiler.startsWith(`${COMPILER_VERSION}+`)) {
      return failed(`expected solc ${COMPILER_VERSION}, found ${compiler}; run npm ci`);
    }
    output = JSON.parse(solc.compile(input)) as Output;
  } catch (error) {
    return failed(`solc did not run: ${reason(error)}`);
  }
  // Warnings too: a contract that cannot be changed later is compiled without any.
  const complaint = output.errors?.[0];
  if (complaint !== undefined) return failed(complaint.formattedMessage.trim().replaceAll(/\s*\n\s*/g, " "));
  const contract = output.contracts?.["Anchor.sol"]?.["Anchor"];
  if (contract === undefined) return failed("the source holds no contract Anchor");
  const layout = contract.storageLayout.storage
    .map(({ label, offset, slot, type }) => `${label}:${offset}:${slot}:${type}`)
    .join(" ");
  if (layout !== LAYOUT) return failed(`expected the storage ${LAYOUT}, the compiler laid out ${layout}`);
  return ok({ abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}`, compiler });
}

/** soljson installs a handler of unhandled rejections; a compiler must not decide how this process dies. */
function loadSolc(): Solc {
  const before = new Set(process.listeners("unhandledRejection"));
  const solc = createRequire(import.meta.url)("solc") as Solc;
  for (const listener of process.listeners("unhandledRejection")) {
    if (!before.has(listener)) process.removeListener("unhandledRejection", listener);
  }
  return solc;
}

/** A cache entry carries its own digest: a damaged one is compiled again, never deployed. */
async function readCached(file: string): Promise<Artifact | undefined> {
  try {
    const [digest, body] = (await readFile(file, "utf8")).split("\n");
    if (body === undefined || createHash("sha256").update(body).digest("hex") !== digest) return undefined;
    return JSON.parse(body) as Artifact;
  } catch {
    return undefined;
  }
}

/** A cache that cannot be written costs a second at the next start and nothing else. */
async function writeCached(dir: string, file: string, artifact: Artifact): Promise<void> {
  const body = JSON.stringify(artifact);
  const part = `${file}.${process.pid}.part`;
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(part, `${createHash("sha256").update(body).digest("hex")}\n${body}\n`);
    await rename(part, file);
  } catch {
    return;
  }
}

function failed(detail: string): Result<never> {
  return fail("CONTRACT_COMPILE_FAILED", detail);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
