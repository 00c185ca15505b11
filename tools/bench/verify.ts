import { concatBytes } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { Identity } from "tallystick/identity/identity";
import { encodeBody, Kind, parseRecord, type Record, readBody, recordId, toBeSigned } from "tallystick/record/record";
import { PackBuilder } from "tallystick/sampler/pack";
import { nodeEngine, relayCrypto, sodiumEngine } from "../../hosts/relay/crypto.js";
import { checkRecord } from "../../hosts/relay/verify/verified.js";
import { type Verifier, verifiers } from "../verdicts/engines.js";
import { runVerdicts } from "../verdicts/run.js";
import { type Area, figure, goal, type Measured } from "./area.js";

/**
 * What it costs to verify a signature, with each engine by the one rule, and a record from its bytes; and whether they all
 * say the same. Engines take turns within one run, so that what else the machine does hits all of them: their ratios hold.
 */
export const verifyArea: Area = {
  name: "verify",
  description: "verifications a second and core of each Ed25519 engine, and what they disagree about",
  run: ({ quick, progress }) => measureVerify({ quick, progress }),
};

export interface VerifyBench {
  readonly quick?: boolean;
  readonly progress?: (line: string) => void;
}

/** Rounds of a measurement, in which each engine gets its turn; the median round counts. */
const ROUNDS = 7;
const TURN_MS = 400;
const TURN_QUICK_MS = 60;
const MUTATIONS = 100_000;
const MUTATIONS_QUICK = 500;
const RECORDS = 64;
/** Readings of a record, four of each of three quantities: as a device packs a minute. */
const READINGS = 12;

export async function measureVerify({ quick = false, progress }: VerifyBench = {}): Promise<Measured> {
  const key = Identity.ofSeed(new Uint8Array(32).fill(1), relayCrypto);
  const records = signedRecords(key);
  const turns: Turn[] = (await verifiers()).map((verifier) => ({ name: verifier.name, run: signaturesOf(verifier) }));
  turns.push({ name: "end to end", run: endToEnd });
  const perSecond = new Map<string, number>();
  const rounds = new Map<string, number[]>(turns.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round++)
    for (const { name, run } of turns) {
      progress?.(`verify: round ${round + 1} of ${ROUNDS}: ${name}`);
      rounds.get(name)!.push(await rate(run, quick ? TURN_QUICK_MS : TURN_MS));
    }
  for (const [name, rates] of rounds) perSecond.set(name, median(rates));
  const { cases, disagreements, seed } = await runVerdicts({
    seed: 1,
    count: quick ? MUTATIONS_QUICK : MUTATIONS,
    onProgress: (done, of) => progress?.(`verify: ${done} of ${of} cases of the edge set and of mutations`),
  });
  const relay = perSecond.get(sodiumEngine.name)!;
  const engines = [...perSecond].map(([name, rated]) => ({
    name,
    per_second: Math.round(rated),
    ratio_to_relay_engine: Number((rated / relay).toPrecision(3)),
  }));
  const goals = [goal("disagreements", "at most", 0, disagreements)];
  return {
    json: {
      area: "verify",
      disagreements,
      cases,
      relay_engine_per_second: Math.round(relay),
      node_crypto_per_second: Math.round(perSecond.get(nodeEngine.name)!),
      tweetnacl_per_second: Math.round(perSecond.get("tweetnacl")!),
      end_to_end_per_second: Math.round(perSecond.get("end to end")!),
      goals,
      engines,
      mutations_seed: seed,
      record_bytes: records[0]!.length,
    },
    table: [
      `signatures of records of ${records[0]!.length} bytes, verified a second on one core, by the rule:`,
      ...engines.map(
        ({ name, per_second, ratio_to_relay_engine }) =>
          `  ${name.padEnd(16)} ${figure(per_second).padStart(9)}  ${figure(ratio_to_relay_engine)} of the relay's engine`,
      ),
      "end to end: a record from its bytes: read strictly, named, its signature and payload checked",
      `${figure(cases)} cases of the edge set and of mutations: ${disagreements} disagreements`,
    ],
  };

  function signaturesOf({ verdict }: Verifier): Turn["run"] {
    const parts = records.map((bytes) => {
      const record = read(bytes);
      return [record.signature, toBeSigned(record), key.publicKey] as const;
    });
    return async (n) => {
      if (!(await verdict(...parts[n % parts.length]!))) throw new Error("a good signature was refused");
    };
  }

  function endToEnd(n: number): void {
    const bytes = records[n % records.length]!;
    const record = parseRecord(bytes);
    if (!record.ok || !checkRecord(relayCrypto, key, record.value).ok) throw new Error("a good record was refused");
    recordId(relayCrypto.sha256, bytes);
  }
}

/** A chain of readings, as a device signs them. */
function signedRecords(key: Identity): Uint8Array[] {
  const records: Uint8Array[] = [];
  let prev: Uint8Array = new Uint8Array(32);
  for (let seq = 1; seq <= RECORDS; seq++) {
    const header = { kid: key.kid, kind: Kind.readings, boot: 0, seq, prev, uptimeMs: seq * 1000, clock: 0 } as const;
    const body = encodeBody(header, payload(seq));
    const parts = readBody(body);
    const signature = parts.ok ? key.sign(toBeSigned(parts.value)) : parts;
    if (!signature.ok) throw new Error(explain(signature.failure));
    const record = concatBytes(body, signature.value);
    records.push(record);
    prev = recordId(relayCrypto.sha256, record);
  }
  return records;
}

function read(bytes: Uint8Array): Record {
  const record = parseRecord(bytes);
  if (!record.ok) throw new Error(explain(record.failure));
  return record.value;
}

const QUANTITIES = [
  ["temperature", "Cel"],
  ["humidity", "%RH"],
  ["pressure", "Pa"],
] as const;

function payload(n: number): Uint8Array {
  const pack = new PackBuilder(READINGS, 1000);
  for (let i = 0; i < READINGS; i++) {
    const [name, unit] = QUANTITIES[i % QUANTITIES.length]!;
    pack.add({ name, unit, value: 20 + n / 4 + i / 8, uptimeMs: (n - 1) * 1000 + i * 50 });
  }
  return pack.encode(n * 1000, undefined);
}

interface Turn {
  readonly name: string;
  run(n: number): void | Promise<void>;
}

/** How often `run` goes in a second; the clock is asked seldom. */
async function rate(run: Turn["run"], forMs: number): Promise<number> {
  const beginMs = performance.now();
  let done = 0;
  let takenMs = 0;
  for (let step = 1; takenMs < forMs; step = Math.max(1, Math.min(64, Math.floor(done / 4)))) {
    for (let n = 0; n < step; n++) await run(done++);
    takenMs = performance.now() - beginMs;
  }
  return (done / takenMs) * 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
