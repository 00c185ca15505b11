import { randomUUID } from "node:crypto";
import type { RelayEvent } from "../events.js";

/** What a receiver is told: which of the relay's events are messages, and the message's JSON. */

export const WEBHOOK_EVENTS = [
  "silence",
  "fork",
  "gap",
  "bad-signature",
  "backdated",
  "alert",
  "log-stuck",
  "ledger-stuck",
] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** The same of the same device is told once in so many seconds. */
export const REPEAT_AFTER_S = 3600;

export interface Message {
  /** The same at each attempt: a receiver that has it already may drop it. */
  readonly id: string;
  readonly event: WebhookEvent;
  /** When it was found, RFC 3339. */
  readonly time: string;
  /** The relay's name. */
  readonly origin: string;
  /** The device's; null where it is about the relay. */
  readonly kid: string | null;
  readonly details: Readonly<Record<string, string | number>>;
}

/** What an event says to a receiver; undefined where it is none of theirs. */
export function findingOf(event: RelayEvent): Pick<Message, "event" | "kid" | "details"> | undefined {
  switch (event.event) {
    case "records":
      return undefined;
    case "refused": {
      const { kid, code, detail, members } = event;
      if (code === "CHAIN_FORK") return { event: "fork", kid, details: { code, ...members } };
      if (code === "GAP_FALSE") return { event: "gap", kid, details: { code, detail } };
      if (code === "SIGNATURE_INVALID") return { event: "bad-signature", kid, details: { code, detail } };
      return undefined;
    }
    case "backdated": {
      const { kid, records, code, detail, seq, id } = event;
      return { event: "backdated", kid, details: { code, detail, records, seq, id } };
    }
    case "silence":
      return {
        event: "silence",
        kid: event.kid,
        details: { quiet_s: event.quietS, mark_interval_s: event.markIntervalS },
      };
    case "gap":
      return { event: "gap", kid: event.kid, details: { missing: event.missing } };
    case "alert": {
      const { event: kind, kid, ...details } = event;
      return { event: kind, kid, details };
    }
    case "log-stuck":
    case "ledger-stuck": {
      const { waitingS, code } = event;
      return { event: event.event, kid: null, details: { waiting_s: waitingS, ...(code !== undefined && { code }) } };
    }
  }
}

export function makeMessage(
  { event, kid, details }: Pick<Message, "event" | "kid" | "details">,
  origin: string,
  nowMs: number,
): Message {
  return { id: `msg_${randomUUID()}`, event, time: new Date(nowMs).toISOString(), origin, kid, details };
}
