import { fromHex } from "tallystick/bytes/bytes";
import { formatOmissionStep, OmissionCheck } from "tallystick/evidence/omission";
import { readPolicy } from "tallystick/evidence/policy";
import type { Crypto } from "tallystick/identity/crypto";

export interface OmissionVector {
  readonly policy: object;
  readonly opening: string;
  readonly cases: readonly {
    readonly verdict: string;
    readonly name: string;
    readonly acknowledgement: string;
    readonly later?: string;
    readonly leaves: readonly string[];
  }[];
}

/** Each case judged, with every step as a person reads it; and the first with bits of its bytes changed. */
export function consumeOmission(crypto: Crypto, { policy: text, opening: entry, cases }: OmissionVector): string[] {
  const policy = readPolicy(crypto.sha256, JSON.stringify(text));
  if (!policy.ok) return [`omission ${policy.failure.detail}`];
  const judge = (acknowledgement: Uint8Array, later: Uint8Array | undefined, leaves: readonly string[]) => {
    const opening = fromHex(entry)!;
    const claim = { acknowledgement, ...(later && { later }), policy: policy.value, opening };
    const check = OmissionCheck.begin(crypto, claim);
    if (!check.ok) return check.failure.code;
    for (const leaf of leaves) check.value.append(fromHex(leaf)!);
    return check.value.report();
  };
  const lines: string[] = [];
  for (const { verdict, name, acknowledgement, later, leaves } of cases) {
    const report = judge(fromHex(acknowledgement)!, later === undefined ? undefined : fromHex(later)!, leaves);
    if (typeof report === "string") return [`omission false ${report}`];
    lines.push(`omission, ${name}: ${report.verdict === verdict ? "as it is judged" : `false, ${report.verdict}`}`);
    for (const step of report.steps) lines.push(`omission step ${formatOmissionStep(step)}`);
  }
  const { acknowledgement, later, leaves } = cases[0]!;
  for (let i = 0; i < acknowledgement.length / 2; i += 37) {
    const changed = fromHex(acknowledgement)!;
    changed[i]! ^= 1;
    const report = judge(changed, fromHex(later!)!, leaves);
    lines.push(`bit omission ${i} ${typeof report === "string" ? report : report.verdict}`);
  }
  return lines;
}
