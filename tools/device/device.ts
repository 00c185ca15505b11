import { fromHex } from "tallystick/bytes/bytes";
import { visible } from "tallystick/bytes/visible";
import { REVOCATION_MAX_BYTES } from "tallystick/chain/revocation";
import { explain, type Failure, fail, type Result } from "tallystick/codes/codes";
import { fromDidKey, kidOf } from "tallystick/identity/key";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { administerHere } from "../../hosts/relay/enrol.js";
import { type DeviceStanding, Operator, type RevocationPlan, type RevokeOptions } from "../../hosts/relay/operate.js";
import { isDatabaseError } from "../../hosts/relay/store/database.js";
import { storeOfEnvironment } from "../../hosts/relay/store/open.js";
import { DEFAULT_TENANT } from "../../hosts/relay/store/schema.js";
import { readInput } from "../file.js";

/** What `tallystick device` does; each answers with the exit status: 0 done, 1 refused. */

export function list(dataDir: string, tenant: string | undefined, asJson: boolean): number {
  const scope =
    tenant === undefined ? undefined : administerHere(dataDir, (administration) => administration.scope(tenant));
  if (scope && !scope.ok) return refuse(scope.failure);
  return withOperator(dataDir, (operator) => {
    let count = 0;
    for (const device of operator.devices(tenant)) {
      count++;
      console.log(asJson ? JSON.stringify(device) : visible(summary(device)));
    }
    if (count === 0 && !asJson) console.log("no device is enrolled; make a token with tallystick enrol");
    return undefined;
  });
}

export function show(dataDir: string, device: string, asJson: boolean): number {
  return about(dataDir, device, asJson, (operator, kid) => operator.device(kid));
}

export function assign(dataDir: string, device: string, tenant: string, asJson: boolean): number {
  return about(dataDir, device, asJson, (operator, kid) => operator.assign(kid, tenant));
}

export function decide(dataDir: string, device: string, what: "hold" | "continue", asJson: boolean): number {
  return about(dataDir, device, asJson, (operator, kid) => operator.decide(kid, what));
}

export interface RevokeArguments {
  /** The operator's own, or the file of an owner's statement. */
  readonly how: RevokeOptions | { readonly file: string };
  readonly asJson: boolean;
  /** Do it: it is for good. Without it only what would be done is said. */
  readonly decided: boolean;
}

export function revoke(dataDir: string, device: string, { how, asJson, decided }: RevokeArguments): number {
  const kid = kidOfText(device);
  if (!kid) return refuse(noKid(device));
  return withOperator(dataDir, (operator) => {
    const read = "file" in how ? readInput(how.file, REVOCATION_MAX_BYTES) : undefined;
    if (read && !read.ok) return read.failure;
    const statement = read?.value;
    const planned = operator.planRevocation(kid, statement ? { statement } : (how as RevokeOptions));
    if (!planned.ok) return planned.failure;
    const { before } = planned.value;
    if (decided && !before) {
      const done = statement ? operator.revokeBy(kid, statement) : operator.revoke(kid, how as RevokeOptions);
      if (!done.ok) return done.failure;
      print(done.value, asJson);
    } else if (asJson) {
      const { kid, fromSeq, seq } = planned.value;
      console.log(JSON.stringify({ kid, seq, [before ? "revokedFrom" : "wouldRevokeFrom"]: fromSeq, done: before }));
    } else console.log(planText(planned.value));
    return undefined;
  });
}

function planText({ kid, fromSeq, seq, before }: RevocationPlan): string {
  if (before) return `nothing to revoke: ${kid} is revoked from seq ${fromSeq} on already`;
  const held = seq < fromSeq ? "no record that is held" : seq === fromSeq ? `seq ${seq}` : `seq ${fromSeq} to ${seq}`;
  return `would revoke ${kid} from seq ${fromSeq} on, for good: ${held}, and all that may come; with --yes it does`;
}

function about(
  dataDir: string,
  device: string,
  asJson: boolean,
  act: (operator: Operator, kid: Uint8Array) => Result<DeviceStanding>,
): number {
  const kid = kidOfText(device);
  if (!kid) return refuse(noKid(device));
  return withOperator(dataDir, (operator) => {
    const result = act(operator, kid);
    if (!result.ok) return result.failure;
    print(result.value, asJson);
    return undefined;
  });
}

function print(device: DeviceStanding, asJson: boolean): void {
  console.log(asJson ? JSON.stringify(device) : details(device).map(visible).join("\n"));
}

function withOperator(dataDir: string, act: (operator: Operator) => Failure | undefined): number {
  const place = storeOfEnvironment(process.env);
  const operator = place.ok ? Operator.open(dataDir, undefined, place.value.store) : place;
  if (!operator.ok) return refuse(operator.failure);
  try {
    const failure = act(operator.value);
    return failure ? refuse(failure) : 0;
  } catch (error) {
    // The relay writes all the time, a backup may hold the file: what SQLite refuses is expected.
    if (!isDatabaseError(error)) throw error;
    return refuse(fail("STORE_FAILED", `${error.message} (${error.code})`).failure);
  } finally {
    operator.value.close();
  }
}

function refuse(failure: Failure): number {
  console.error(`tallystick device: ${explain(failure)}`);
  return 1;
}

/** What is wrong with a name that `kidOfText` does not take. */
export function noKid(text: string): Failure {
  return fail("KID_MALFORMED", `expected 16 hexadecimal digits in lower case or a did:key, received ${text}`).failure;
}

/** A device as people name it: its kid, or its did:key. */
export function kidOfText(text: string): Uint8Array | undefined {
  const key = fromDidKey(text);
  if (key) return kidOf(relayCrypto.sha256, key);
  return /^[0-9a-f]{16}$/.test(text) ? fromHex(text) : undefined;
}

function summary(device: DeviceStanding): string {
  return [device.kid, device.state.padEnd(6), `seq ${device.seq}`, device.model, ...standing(device)].join("  ");
}

function standing({ tenant, heldSinceMs, revokedFrom, forks }: DeviceStanding): string[] {
  return [
    ...(tenant === DEFAULT_TENANT ? [] : [`tenant ${tenant}`]),
    ...(heldSinceMs === undefined ? [] : [`held back since ${new Date(heldSinceMs).toISOString()}`]),
    ...(revokedFrom === undefined ? [] : [`revoked from seq ${revokedFrom} on`]),
    ...(forks.length === 0 ? [] : [forks.length === 1 ? "1 fork" : `${forks.length} forks`]),
  ];
}

function details(device: DeviceStanding): string[] {
  return [
    `device ${device.kid}`,
    `  key ${device.did}`,
    `  print ${device.print}, to compare by eye`,
    `  ${device.model}, ${device.state}, newest record at seq ${device.seq}`,
    `  heard ${new Date(device.heardAtMs).toISOString()}`,
    ...(device.missing === 0 ? [] : [`  missing ${device.missing}`]),
    ...standing(device).map((line) => `  ${line}`),
    ...device.forks.flatMap(({ seq, held, received }) => [
      `  fork at seq ${seq}`,
      ...(held === undefined ? [] : [`    held      ${held}`]),
      `    received  ${received}`,
    ]),
    ...device.decisions.map(({ what, atMs }) => `  ${new Date(atMs).toISOString()}  ${what}`),
  ];
}
