import type { PostgresPlace } from "./place.js";

/** What goes between the relay's main thread and the thread that holds the connection (bridge.ts, thread.ts). */

export type Value = number | string | Uint8Array | null;

export interface Statement {
  readonly text: string;
  readonly values: readonly Value[];
  /** Its rows are asked for. */
  readonly wanted: boolean;
}

export type Order =
  | {
      readonly id: number;
      readonly kind: "connect";
      readonly place: PostgresPlace;
      readonly timeoutMs: number;
      readonly parameters: Readonly<Record<string, string>>;
    }
  /** All of them are sent at once, in order; on another connection than this they are refused. */
  | {
      readonly id: number;
      readonly kind: "run";
      readonly connection: number;
      readonly statements: readonly Statement[];
    }
  | { readonly id: number; readonly kind: "close" };

export interface Rows {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

export interface Fault {
  /** SQLSTATE, or what the connection ended with. */
  readonly code: string;
  /** For the relay's own log. */
  readonly message: string;
  /** The connection is gone. */
  readonly lost: boolean;
}

/** `commands`: what each statement was to the server, such as COMMIT. */
export type Answer =
  | {
      readonly id: number;
      readonly connection: number;
      readonly results: readonly (Rows | undefined)[];
      readonly last: string;
    }
  | { readonly id: number; readonly fault: Fault };

export interface ThreadData {
  readonly signal: SharedArrayBuffer;
}
