import assert from "node:assert/strict";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { recordId } from "tallystick/record/record";
import { readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import type { Store } from "../../../hosts/relay/store/store.js";
import type { NetworkAnswer, NetworkRequest } from "../../../hosts/simulator/world/network.js";
import { must } from "../../relay/started.js";
import type { Bench } from "../bench.js";

/** What a relay must never answer to an honest device: each says that it lies, is two, or has signed something else. */
const ALARMS: ReadonlySet<string> = new Set([
  "CHAIN_FORK",
  "CHAIN_BROKEN",
  "DEVICE_FORKED",
  "GAP_FALSE",
  "KEY_MISMATCH",
  "RECORD_MALFORMED",
  "SIGNATURE_INVALID",
  "SUCCESSION_FALSE",
  "SUCCESSION_KEY_TAKEN",
  "SUCCESSION_TAKEN",
]);

/**
 * What must hold of one device and its relay whatever honest misfortune came over the device. It looks from outside: at
 * what was on the wire, at what the relay answered to whomever, and at what the relay stores.
 */
export class Oracle {
  readonly #bench: Bench;
  readonly #store: Store;
  /** Of each chain, by its key's kid: the ids that the relay has acknowledged, by position; undefined in a hole. */
  readonly #acknowledged = new Map<string, (string | undefined)[]>();
  readonly #alarms: string[] = [];

  constructor(bench: Bench, store: Store) {
    this.#bench = bench;
    this.#store = store;
  }

  /** Takes an answer as the relay gave it. */
  heard({ method, path }: NetworkRequest, answer: NetworkAnswer): void {
    if (answer.outcome !== "answered") return;
    if (answer.status !== 200) {
      const { code } = JSON.parse(Buffer.from(answer.body).toString("utf8")) as { code?: string };
      if (code === undefined || ALARMS.has(code) || answer.status >= 500)
        this.#alarms.push(`${answer.status} ${code} to ${method} ${path}`);
      return;
    }
    if (method !== "POST") return;
    const { kid, received } = must(readAcknowledgement(answer.body)).acknowledgement;
    if (received === undefined) return;
    const name = toHex(kid);
    const ids = this.#acknowledged.get(name) ?? [];
    this.#acknowledged.set(name, ids);
    const { device } = this.#store.deviceByKid(kid)!;
    // What the relay has acknowledged it holds, from this moment on.
    for (let seq = ids.length; seq <= received.seq; seq++) {
      const record = this.#store.recordAt(device, seq);
      ids.push(record && toHex(record.id));
    }
  }

  /** The highest position of a chain that was ever handed to the wire; -1 where none was. */
  sent(kid: string): number {
    let most = -1;
    for (const place of this.#bench.network.sent.keys())
      if (place.startsWith(kid)) most = Math.max(most, Number(place.slice(kid.length + 1)));
    return most;
  }

  /** The relay holds, in its chain, all of the device's present chain that was ever handed to the wire. */
  get hasArrived(): boolean {
    return (this.#acknowledged.get(this.#bench.kid)?.length ?? 0) > this.sent(this.#bench.kid);
  }

  /** The highest position that the relay has acknowledged of a chain; -1 where it has of none. */
  received(kid: string): number {
    return (this.#acknowledged.get(kid)?.length ?? 0) - 1;
  }

  /** What was committed from report `from` on is at the relay, as far as that has come, and no rule was broken. */
  check(from: number): void {
    const { network, held, kid: present } = this.#bench;
    assert.deepEqual(this.#alarms, [], "the relay raised an alarm");
    assert.deepEqual(network.equivocations, [], "two records were sent for one position");
    for (const [name, ids] of this.#acknowledged) {
      const { device, state } = this.#store.deviceByKid(fromHex(name)!)!;
      assert.deepEqual(this.#store.forks(device), [], `the relay holds a fork of ${name}`);
      assert.equal(state, name === present ? "active" : "closed", `the chain of ${name}`);
      for (const [seq, id] of ids.entries()) {
        if (id === undefined) continue;
        const record = this.#store.recordAt(device, seq);
        const bytes = record && toHex(recordId(relayCrypto.sha256, record.bytes));
        assert.equal(bytes, id, `record ${seq} of ${name} was acknowledged`);
        const sent = network.sent.get(`${name} ${seq}`);
        assert.equal(sent, id, `record ${seq} of ${name} is not the one that was sent`);
      }
    }
    for (let at = from; at < held.length; at++) {
      const { kid, seq, id } = held[at]!;
      const ids = this.#acknowledged.get(kid!) ?? [];
      if (seq < ids.length && ids[seq] !== undefined)
        assert.equal(ids[seq], id, `record ${seq} of ${kid} was committed`);
    }
  }
}
