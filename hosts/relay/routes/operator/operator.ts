import type { FastifyInstance, FastifyRequest } from "fastify";
import { ok } from "tallystick/codes/codes";
import type { Identity } from "tallystick/identity/identity";
import { Attempts, type AttemptsOptions } from "../../attempts.js";
import { relayCrypto } from "../../crypto.js";
import { dashboardRoutes } from "../../dashboard/dashboard.js";
import { type DeviceStanding, Operator } from "../../operate.js";
import { Administration } from "../../operators/administration.js";
import { Credentials, type CredentialsOptions } from "../../operators/credentials.js";
import type { Actor } from "../../operators/roles.js";
import type { Ladder } from "../../store/ladder.js";
import { OperatorStore } from "../../store/operators.js";
import type { Store } from "../../store/store.js";
import { quietMaxS } from "../../watch/watch.js";
import { type Levels, levelsNow } from "../devices.js";
import { operatorDeviceRoutes } from "./devices.js";
import { guardOperatorRoutes } from "./guard.js";
import { operatorTenantRoutes } from "./tenants.js";
import { operatorTokenRoutes } from "./tokens.js";

/** The operator API: what operators do by commands beside the relay, over HTTP and on a token's word. */

export interface OperatorApiOptions {
  readonly store: Store;
  readonly ladder: Ladder;
  /** Mark intervals for which a device may be quiet; as the watch has it. */
  readonly silenceIntervals?: number;
  /** The relay's device-facing key, by which its operator speaks. */
  readonly identity: Identity;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly attempts: AttemptsOptions;
  readonly isEqual?: CredentialsOptions["isEqual"];
}

/** What a route does, it does on its request's word. */
export interface OperatorRoutesOptions {
  readonly administration: (request: FastifyRequest) => Administration;
  readonly operate: (request: FastifyRequest) => Operator;
  readonly isSilent: (device: DeviceStanding) => boolean;
  /** How far the chains of enrolled devices have come, all at one moment. */
  readonly levelsNow: () => (kid: Uint8Array) => Levels;
  /** Wall time in milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** Adds the operator API with its guard, and the page that shows it. */
export function operatorRoutes(app: FastifyInstance, options: OperatorApiOptions): void {
  const { store, ladder, identity, nowMs, silenceIntervals, isEqual } = options;
  const { sha256 } = relayCrypto;
  const { database } = store;
  const operators = new OperatorStore(database);
  // While the relay was away it heard nobody, and that is no device's silence.
  const startedMs = nowMs();
  const credentials = new Credentials({ store: operators, sha256, nowMs, ...(isEqual && { isEqual }) });
  guardOperatorRoutes(app, { credentials, operators, attempts: new Attempts(options.attempts) });
  const routes: OperatorRoutesOptions = {
    administration: (request) =>
      new Administration({ store: operators, database, sha256, nowMs, actor: actorOf(request) }),
    operate: (request) => new Operator({ store, openKey: () => ok(identity), nowMs, actor: actorOf(request) }),
    isSilent: ({ state, revokedFrom, heardAtMs, markIntervalS }) =>
      state !== "closed" &&
      revokedFrom === undefined &&
      nowMs() - Math.max(heardAtMs, startedMs) > quietMaxS(markIntervalS, silenceIntervals) * 1000,
    levelsNow: () => {
      const levels = levelsNow({ store, ladder });
      return (kid) => levels(store.deviceByKid(kid)!);
    },
    nowMs,
  };
  operatorDeviceRoutes(app, routes);
  operatorTokenRoutes(app, routes);
  operatorTenantRoutes(app, routes);
  dashboardRoutes(app, { isOpen: () => operators.hasOperatorTokens() });
}

function actorOf({ operator: { id, role, tenant } }: FastifyRequest): Actor {
  return { who: id, role, tenant };
}
