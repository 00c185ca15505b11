import { explain, ok, type Result } from "tallystick/codes/codes";
import { administerHere } from "../../hosts/relay/enrol.js";
import type { StoredTenant } from "../../hosts/relay/store/operators.js";

/** What `tallystick tenant` does; each answers with the exit status: 0 done, 1 refused. */

export function create(dataDir: string, name: string, asJson: boolean): number {
  const made = administerHere(dataDir, (administration) => administration.makeTenant(name));
  return print(made.ok ? ok([made.value]) : made, asJson);
}

export function list(dataDir: string, asJson: boolean): number {
  return print(
    administerHere(dataDir, (administration) => ok(administration.tenants())),
    asJson,
  );
}

function print(tenants: Result<readonly StoredTenant[]>, asJson: boolean): number {
  if (!tenants.ok) {
    console.error(`tallystick tenant: ${explain(tenants.failure)}`);
    return 1;
  }
  for (const { name, madeAtMs } of tenants.value)
    console.log(asJson ? JSON.stringify({ name, made_at_ms: madeAtMs }) : name);
  return 0;
}
