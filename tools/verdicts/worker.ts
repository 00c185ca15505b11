import { toHex } from "tallystick/bytes/bytes";
import { type Case, edgeCases, Mutations } from "./cases.js";
import { libsodium, type Verifier, verifiers } from "./engines.js";

/** A process that asks every verifier about a range of cases. */
export interface Batch {
  /** Of mutations; the edge set where it is not given. */
  readonly seed?: number;
  readonly from: number;
  readonly to: number;
}

export interface BatchResult {
  readonly cases: number;
  readonly accepted: number;
  readonly disagreements: readonly Disagreement[];
  /** Of each kind of case. */
  readonly kinds: Readonly<Record<string, number>>;
}

export interface Disagreement {
  readonly seed?: number;
  readonly n: number;
  readonly what: string;
  readonly libsodium: boolean;
  /** Those that say otherwise. */
  readonly others: readonly string[];
  readonly signature: string;
  readonly message: string;
  readonly publicKey: string;
}

export async function judge(all: readonly Verifier[], { seed, from, to }: Batch): Promise<BatchResult> {
  const caseAt = casesOf(seed);
  const disagreements: Disagreement[] = [];
  const kinds: Record<string, number> = {};
  let accepted = 0;
  for (let n = from; n < to; n++) {
    const { what, signature, message, publicKey } = caseAt(n);
    kinds[what] = (kinds[what] ?? 0) + 1;
    const expected = libsodium(signature, message, publicKey);
    if (expected) accepted++;
    const others: string[] = [];
    for (const { name, verdict } of all)
      if ((await verdict(signature, message, publicKey)) !== expected) others.push(name);
    if (others.length > 0)
      disagreements.push({
        ...(seed !== undefined && { seed }),
        ...{ n, what, libsodium: expected, others },
        ...{ signature: toHex(signature), message: toHex(message), publicKey: toHex(publicKey) },
      });
  }
  return { cases: to - from, accepted, disagreements, kinds };
}

let known: { readonly seed: number | undefined; readonly caseAt: (n: number) => Case } | undefined;

function casesOf(seed: number | undefined): (n: number) => Case {
  if (known === undefined || known.seed !== seed) {
    if (seed === undefined) {
      const cases = edgeCases();
      known = { seed, caseAt: (n) => cases[n]! };
    } else {
      const mutations = new Mutations(seed);
      known = { seed, caseAt: (n) => mutations.caseAt(n) };
    }
  }
  return known.caseAt;
}

if (process.send !== undefined) {
  const all = verifiers();
  process.on("message", (batch: Batch) => {
    void all.then((ready) => judge(ready, batch)).then((result) => process.send!(result));
  });
}
