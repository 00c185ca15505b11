import type { Mutation } from "../../journal/cuts/bundle.js";

/**
 * What keeps an honest rollback from looking like two devices, each with the change that switches it off, and a case of
 * seed 1 that finds it gone. Without them the run's oracle would not have been seen to fail.
 */
export interface Defence extends Mutation {
  /** What is given up. */
  readonly without: string;
  readonly case: number;
}

const SYNC = "modules/sync/sync.ts";
const FETCHING = "modules/sync/fetching.ts";

export const DEFENCES: readonly Defence[] = [
  {
    without: "the sent mark at a start",
    file: SYNC,
    from: "this.#sent = sent.value ?? -1;",
    to: "this.#sent = -1;",
    case: 2,
  },
  {
    without: "the sent mark before a sending",
    file: SYNC,
    from: "this.#markSent(Math.max(last, gap?.seq ?? last));",
    to: "",
    case: 2,
  },
  {
    without: "waiting for what the relay knows more",
    file: SYNC,
    from: "    this.#hold();\n    const shown = await this.#isBehind(received);",
    to: "    const shown = await this.#isBehind(received);",
    case: 0,
  },
  {
    without: "the nonce of an acknowledgement",
    file: "modules/sync/acceptance.ts",
    from: 'if (!equalBytes(acknowledgement.nonce, request.nonce)) return refused("the nonce just sent", "another");',
    to: "",
    case: 8,
  },
  {
    without: "asking for a genesis that was sent",
    file: "modules/device/genesis.ts",
    from: "if (succession && sent.value !== undefined) return ok(undefined);",
    to: "",
    case: 9,
  },
  {
    without: "room for what is fetched back",
    file: FETCHING,
    from: 'restored.failure.code === "JOURNAL_FULL" && this.release(releasable).ok',
    to: "false",
    case: 1,
  },
  {
    without: "what the relay has, before the chain ends",
    file: SYNC,
    from: 'if (this.#ends === "branch" || this.#headSeq() >= position.seq) return this.#end(position);',
    to: 'if (this.#ends === "branch" || position.seq < this.#sent) return this.#end(position);',
    case: 102,
  },
  {
    without: "the gap that names what is missing",
    file: FETCHING,
    from: "if (namesOwn(this.#options, missing, bytes)) return ok(true);",
    to: "",
    case: 71,
  },
  {
    without: "the gap that is held in place of the one that is noted",
    file: "modules/device/gaps.ts",
    from: "for (let seq = Math.min(noted, this.#head()?.seq ?? -1); seq >= journal.releasedCount; seq--) {",
    to: "for (let seq = noted; seq === noted && seq >= journal.releasedCount; seq--) {",
    case: 56,
  },
  {
    without: "the same answer to the same succession, at the relay",
    file: "hosts/relay/succession.ts",
    from: "if (equalBytes(successor.genesisId, id)) return { request, device: successor, isNew: false };",
    to: "",
    case: 3,
  },
];
