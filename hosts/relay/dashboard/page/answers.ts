/**
 * What the operator API answers, as far as the page shows it. The shapes are the API's (routes/operator/); a test holds
 * these against them.
 */

export type Role = "viewer" | "operator" | "admin";

export interface Level {
  readonly seq: number;
  readonly id: string;
  readonly count: number;
  readonly at_ms: number;
}

export type Step = "received" | "logged" | "submitted" | "final";

export interface Device {
  readonly kid: string;
  readonly did: string;
  readonly print: string;
  readonly tenant: string;
  readonly model: string;
  readonly state: "active" | "forked" | "closed";
  readonly seq: number;
  readonly enrolled_at_ms: number;
  readonly heard_at_ms: number;
  readonly mark_interval_s: number;
  readonly silent: boolean;
  readonly missing: number;
  readonly held_since_ms?: number;
  readonly revoked_from?: number;
  readonly forks: readonly { readonly seq: number; readonly held?: string; readonly received: string }[];
  readonly decisions: readonly { readonly what: string; readonly at_ms: number }[];
  readonly received: Level;
  readonly logged?: Level;
  readonly submitted?: Level;
  readonly final?: Level;
}

export interface EnrolmentToken {
  readonly id: string;
  readonly tenant: string;
  readonly state: "free" | "used" | "ended" | "expired";
  readonly made_at_ms: number;
  readonly expires_at_ms: number;
  readonly used_at_ms?: number;
  readonly used_by?: string;
}

export interface OperatorToken {
  readonly id: string;
  readonly tenant?: string;
  readonly role: Role;
  readonly label: string;
  readonly made_by: string;
  readonly made_at_ms: number;
  readonly expires_at_ms: number;
  readonly revoked_at_ms?: number;
  readonly used_at_ms?: number;
}

export interface Change {
  readonly entry: number;
  readonly at_ms: number;
  readonly who: string;
  readonly tenant?: string;
  readonly what: string;
  readonly about: string;
  readonly detail: object;
}

/** RFC 9457, as the relay has it. */
export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly todo: string;
}
