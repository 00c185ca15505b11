import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { explain, type Result } from "tallystick/codes/codes";
import { formatCheckpoint, type TreeHead } from "tallystick/log/checkpoint";
import {
  cosignature,
  formatNote,
  SignatureType,
  signedMessage,
  type VerifierKey,
  verifierKey,
} from "tallystick/log/note";
import { encodeAddCheckpoint } from "tallystick/log/witness";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { systemEntropy } from "../../hosts/relay/keys.js";
import { nodeDisk } from "../../hosts/relay/log/disk.js";
import { WitnessServer, type WitnessServerOptions } from "../../hosts/relay/witness/server.js";
import { Witness } from "../../hosts/relay/witness/witness.js";
import { naiveConsistency, naiveLeaf, naiveRoot } from "../merkle/naive.js";

const { sha256, ed25519 } = relayCrypto;

export const ORIGIN = "log.example/tests";

export function must<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Error(explain(result.failure));
}

/** Who signs notes with a key that the test knows. */
export function signerOf(name: string, seedByte: number, type: SignatureType = SignatureType.ed25519) {
  const seed = new Uint8Array(32).fill(seedByte);
  const key: VerifierKey = verifierKey(sha256, name, type, ed25519.publicKey(seed));
  return {
    key,
    line(text: string, timeS?: number) {
      const signature = ed25519.sign(signedMessage(text, timeS), seed, key.publicKey);
      return { name, id: key.id, signature: timeS === undefined ? signature : cosignature(timeS, signature) };
    },
  };
}

/** A log that signs whatever it is asked to, as an honest one would not; history `branch` differs from entry `from` on. */
export class AnyLog {
  readonly signer;
  readonly key: VerifierKey;

  constructor(
    readonly origin = ORIGIN,
    seedByte = 1,
    readonly branch = "",
    readonly from = 0,
  ) {
    this.signer = signerOf(origin, seedByte);
    this.key = this.signer.key;
  }

  leaves(size: number): Uint8Array[] {
    return Array.from({ length: size }, (_, i) =>
      naiveLeaf(new Uint8Array(Buffer.from(i < this.from ? `entry ${i}` : `entry ${i}${this.branch}`))),
    );
  }

  tree(size: number): TreeHead {
    return { size, root: naiveRoot(this.leaves(size)) };
  }

  checkpoint(size: number): Uint8Array {
    const text = formatCheckpoint({ origin: this.origin, ...this.tree(size) });
    return formatNote({ text, signatures: [this.signer.line(text)] });
  }

  path(oldSize: number, size: number): Uint8Array[] {
    return oldSize === 0 || oldSize === size ? [] : naiveConsistency(oldSize, this.leaves(size));
  }

  /** The body of add-checkpoint. */
  request(oldSize: number, size: number): Uint8Array {
    return encodeAddCheckpoint({ oldSize, path: this.path(oldSize, size), checkpoint: this.checkpoint(size) });
  }
}

/** A witness's server in this process, on a folder of its own. */
export class StartedWitness {
  private constructor(
    public server: WitnessServer,
    readonly folder: string,
    readonly options: Omit<WitnessServerOptions, "dataDir">,
  ) {}

  static async start(
    logs: readonly VerifierKey[],
    name = "witness.example/w1",
    options: Partial<WitnessServerOptions> = {},
  ): Promise<StartedWitness> {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-witness-"));
    must(await Witness.create({ disk: nodeDisk, crypto: relayCrypto, folder, entropy: systemEntropy }, name));
    const all = { logs, ...options };
    return new StartedWitness(must(await WitnessServer.open({ dataDir: folder, ...all })), folder, all);
  }

  get url(): string {
    return this.server.url;
  }

  get key(): VerifierKey {
    return this.server.key;
  }

  /** At the same address, as a relay knows it. */
  async restart(options: Partial<WitnessServerOptions> = {}): Promise<void> {
    const port = Number(new URL(this.url).port);
    await this.server.close();
    this.server = must(await WitnessServer.open({ dataDir: this.folder, ...this.options, ...options, port }));
  }

  async close(): Promise<void> {
    await this.server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface Posted {
  readonly status: number;
  readonly type: string | null;
  readonly text: string;
  /** Of a problem document. */
  readonly code: string | undefined;
}

/** POST /add-checkpoint. */
export async function post(url: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<Posted> {
  const answer = await fetch(`${url}/add-checkpoint`, { method: "POST", body, headers });
  const [type, text] = [answer.headers.get("content-type"), await answer.text()];
  const code = type?.startsWith("application/problem+json") ? (JSON.parse(text).code as string) : undefined;
  return { status: answer.status, type, text, code };
}
