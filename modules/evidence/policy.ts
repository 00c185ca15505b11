import { fromHex } from "../bytes/bytes.js";
import { fail, ok, type Result } from "../codes/codes.js";
import type { Sha256 } from "../identity/crypto.js";
import { fromDidKey } from "../identity/key.js";
import { parseVerifierKey, type VerifierKey } from "../log/note.js";
import type { TrustedBlock } from "./evm.js";

/** What a verifier trusts from elsewhere, and what must be proved for its purpose. */
export interface Policy {
  /** The log's key. Without one, nothing about the log is proved. */
  readonly log?: VerifierKey;
  /** Public keys of the devices that the verifier knows. Without any, a device's key is only what the log says it is. */
  readonly devices: readonly Uint8Array[];
  /** Public keys of makers whose word for a device the verifier believes (record/SPEC.md). */
  readonly makers: readonly Uint8Array[];
  /** Public keys whose revocations the verifier believes, beside those that a device's genesis names. */
  readonly operators: readonly Uint8Array[];
  /** What the verifier knows to be revoked, whether a file tells it or not: from these positions on nothing counts. */
  readonly revoked: readonly { readonly device: Uint8Array; readonly fromSeq: number }[];
  readonly witnesses: readonly VerifierKey[];
  /** How many of the witnesses must have cosigned. */
  readonly witnessQuorum: number;
  /** Blocks that the verifier holds to be final, each with the contract to look in. */
  readonly ledgers: readonly TrustedBlock[];
  /** Of a policy file that does not say: what follows from whom it names (`requiredBy`). */
  readonly require: readonly Requirement[];
}

/** What a policy can ask for; SPEC.md says what each one means. */
export const REQUIREMENTS = ["signature", "device", "logged", "witnessed", "anchored", "dated"] as const;
export type Requirement = (typeof REQUIREMENTS)[number];

const LIST_MAX = 1024;

/** Reads a policy file's JSON. POLICY_MALFORMED names the member; unknown members are refused. */
export function readPolicy(sha256: Sha256, text: string): Result<Policy> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return malformed(`JSON: ${(error as Error).message}`);
  }
  if (!isObject(json)) return malformed("an object");
  for (const name of Object.keys(json))
    if (!MEMBERS.includes(name)) return malformed(`one of the members ${MEMBERS.join(", ")}, not "${name}"`);
  const log = json.log === undefined ? undefined : vkey(sha256, json.log);
  if (log && !log.ok) return log;
  const devices = list(json.devices, key);
  if (!devices) return malformed("devices as a list of did:key of Ed25519 keys");
  const makers = list(json.makers, key);
  if (!makers) return malformed("makers as a list of did:key of Ed25519 keys");
  const operators = list(json.operators, key);
  if (!operators) return malformed("operators as a list of did:key of Ed25519 keys");
  const revoked = list(json.revoked, revokedKey);
  if (!revoked) return malformed('revoked as a list of { "device": did:key, "from": position }');
  const witnesses = list(json.witnesses, (text) => {
    const key = vkey(sha256, text);
    return key.ok ? key.value : undefined;
  });
  if (!witnesses) return malformed("witnesses as a list of vkey lines");
  const witnessQuorum = json.witnessQuorum ?? witnesses.length;
  if (typeof witnessQuorum !== "number" || !Number.isInteger(witnessQuorum) || witnessQuorum < 0)
    return malformed("witnessQuorum as a whole number");
  if (witnessQuorum > witnesses.length)
    return malformed(
      `a witnessQuorum of at most ${witnesses.length}, as many as witnesses are named, not ${witnessQuorum}`,
    );
  const ledgers = list(json.ledgers, trustedBlock);
  if (!ledgers) return malformed('ledgers as a list of { "kind": "evm", "chainId", "contract", "block" }');
  const trusted = {
    ...(log && { log: log.value }),
    ...{ devices, makers, operators, revoked, witnesses, witnessQuorum, ledgers },
  };
  const required = json.require === undefined ? requiredBy(trusted) : list(json.require, requirement);
  // What requires nothing would be proved of any file.
  if (!required?.length) return malformed(`require as a list of at least one of ${REQUIREMENTS.join(", ")}`);
  return ok({ ...trusted, require: required });
}

/**
 * What a policy asks for that has no `require`: whom it names is named to count. `dated` is about what a file says of itself,
 * and nothing that a policy names. A policy that ties a file to nobody asks for a log, so that nothing is proved by it.
 */
function requiredBy(policy: Omit<Policy, "require">): readonly Requirement[] {
  const { log, devices, makers, witnesses, witnessQuorum, ledgers } = policy;
  const knowsKeys = devices.length > 0 || makers.length > 0;
  const asked: Readonly<Record<Requirement, boolean>> = {
    signature: true,
    device: knowsKeys,
    logged: log !== undefined || !knowsKeys,
    witnessed: witnesses.length > 0 && witnessQuorum > 0,
    anchored: ledgers.length > 0,
    dated: false,
  };
  return REQUIREMENTS.filter((requirement) => asked[requirement]);
}

const MEMBERS = [
  "log",
  "devices",
  "makers",
  "operators",
  "revoked",
  "witnesses",
  "witnessQuorum",
  "ledgers",
  "require",
];

function key(value: unknown): Uint8Array | undefined {
  return typeof value === "string" ? fromDidKey(value) : undefined;
}

function revokedKey(value: unknown): Policy["revoked"][number] | undefined {
  if (!isObject(value) || Object.keys(value).length !== 2) return undefined;
  const device = key(value.device);
  const { from } = value;
  if (!device || typeof from !== "number" || !Number.isSafeInteger(from) || from < 0) return undefined;
  return { device, fromSeq: from };
}

function vkey(sha256: Sha256, value: unknown): Result<VerifierKey> {
  return typeof value === "string" ? parseVerifierKey(sha256, value) : malformed("a vkey line as text");
}

function trustedBlock(value: unknown): TrustedBlock | undefined {
  if (!isObject(value) || value.kind !== "evm" || Object.keys(value).length !== 4) return undefined;
  const { chainId, contract, block } = value;
  const address = hex(contract, 20);
  const blockHash = hex(block, 32);
  if (typeof chainId !== "number" || !Number.isInteger(chainId) || !address || !blockHash) return undefined;
  return { chainId, contract: address, blockHash };
}

function hex(value: unknown, length: number): Uint8Array | undefined {
  if (typeof value !== "string" || !value.startsWith("0x")) return undefined;
  const bytes = fromHex(value.slice(2));
  return bytes?.length === length ? bytes : undefined;
}

function requirement(value: unknown): Requirement | undefined {
  return REQUIREMENTS.find((known) => known === value);
}

function list<T>(value: unknown, read: (item: unknown) => T | undefined): T[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > LIST_MAX) return undefined;
  const items: T[] = [];
  for (const item of value) {
    const element = read(item);
    if (element === undefined) return undefined;
    items.push(element);
  }
  return items;
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function malformed(expected: string): Result<never> {
  return fail("POLICY_MALFORMED", `expected ${expected}`);
}
