import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readBundle } from "tallystick/evidence/bundle";
import { anchorBlock, readEvmAnchor } from "tallystick/evidence/evm";

const TALLYSTICK = fileURLToPath(new URL("../tallystick.mjs", import.meta.url));
const VERIFY_MAX_MS = 60_000;

/** What the verifier is told to trust: each part from where it was made, none from the relay's answers. */
export interface Trust {
  /** vkey line, as provisioned. */
  readonly logKey: string;
  /** did:key of the board, whose kid the board itself printed. */
  readonly device: string;
  readonly chainId: number;
  readonly contract: string;
  /** The verifier's own look at the ledger: hash of the block with this number. */
  readonly blockHash: (number: number) => Promise<string>;
}

export interface Proof {
  readonly label: string;
  readonly file: string;
  readonly policyFile: string;
  readonly proved: boolean;
  /** What `tallystick verify` printed. */
  readonly output: string;
}

/** Fetches evidence for a record and has it verified by a fresh process that knows nothing but the two files. */
export async function prove(label: string, folder: string, relayUrl: string, id: string, trust: Trust): Promise<Proof> {
  mkdirSync(folder, { recursive: true });
  const response = await fetch(`${relayUrl}/v1/records/${id}/evidence`);
  const evidence = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) throw new Error(`evidence for ${label}: ${Buffer.from(evidence).toString("utf8")}`);
  const file = join(folder, `${label}.tally`);
  const policyFile = join(folder, `${label}.policy.json`);
  writeFileSync(file, evidence);
  const policy = {
    log: trust.logKey,
    devices: [trust.device],
    ledgers: await ledgersOf(evidence, trust),
    require: ["signature", "device", "logged", "anchored"],
  };
  writeFileSync(policyFile, `${JSON.stringify(policy, null, 2)}\n`);
  const { status, output } = await run([TALLYSTICK, "verify", file, "--policy", policyFile]);
  return { label, file, policyFile, proved: status === 0, output };
}

/** The blocks that the evidence leads to, by number; their hashes come from the ledger itself. */
async function ledgersOf(evidence: Uint8Array, { chainId, contract, blockHash }: Trust): Promise<object[]> {
  const bundle = readBundle(evidence);
  if (!bundle.ok) throw new Error(`the relay's evidence: ${bundle.failure.detail}`);
  const ledgers = [];
  for (const { anchor } of bundle.value.anchors) {
    const read = readEvmAnchor(anchor);
    const block = read.ok ? anchorBlock(read.value) : read;
    if (!block.ok) throw new Error(`the relay's anchor: ${block.failure.detail}`);
    ledgers.push({ kind: "evm", chainId, contract, block: await blockHash(block.value.number) });
  }
  return ledgers;
}

function run(args: readonly string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], timeout: VERIFY_MAX_MS });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}
