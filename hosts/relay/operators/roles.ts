/** Who may do what: three roles, each of which may do all that those before it may, for one tenant or for all. */

/**
 * `viewer` reads; `operator` also makes and ends enrolment tokens and decides about devices; `admin` also makes and revokes
 * operator tokens, and reads what was changed by whom.
 */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Whether `role` may do what takes `needed`. */
export function holds(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** On whose word something is done. */
export interface Actor {
  /** An operator token's id, COMMAND or STATEMENT. */
  readonly who: string;
  readonly role: Role;
  /** Undefined: of the whole relay, and so for all tenants. */
  readonly tenant: string | undefined;
}

/** Whoever may write the data folder: nobody is above. No token has an id like it. */
export const COMMAND = "command";
/** Nobody's token: a signed statement that anyone may bring, and that is believed for its signature. */
export const STATEMENT = "statement";
export const COMMAND_ACTOR: Actor = { who: COMMAND, role: "admin", tenant: undefined };
