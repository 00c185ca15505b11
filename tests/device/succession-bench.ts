import assert from "node:assert/strict";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import { ClockState } from "tallystick/clock/clock";
import { Identity } from "tallystick/identity/identity";
import { Journal } from "tallystick/journal/journal";
import { encodeGap, GAP_SUMMARIES_MAX } from "tallystick/record/gap";
import { readGenesis } from "tallystick/record/payload";
import { Kind } from "tallystick/record/record";
import { encodeRequest, NONCE_BYTES } from "tallystick/sync/messages";
import { readSentMark } from "tallystick/sync/sent-mark";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import type { StoredDevice, StoredRecord } from "../../hosts/relay/store/store.js";
import type { NetworkAnswer } from "../../hosts/simulator/world/network.js";
import { post } from "../fixtures/device.js";
import type { StartedRelay } from "../relay/started.js";
import { Bench, type BenchOptions, parsed } from "./bench.js";

const MINUTE = 60_000;

/** Deliveries that were under way when the device forgot them. */
type Late = () => Promise<NetworkAnswer>;

/** A bench whose device loses what it may have sent, and what must hold when its key was succeeded. */
export class SuccessionBench extends Bench {
  readonly started: StartedRelay;

  constructor(started: StartedRelay, options: BenchOptions) {
    super({ sectors: 8, ...options });
    this.started = started;
    this.provision(started);
    this.connect(started.url);
  }

  deviceOf(kid: string): StoredDevice {
    return this.started.relay.store.deviceByKid(fromHex(kid)!)!;
  }

  chainOf(kid: string): StoredRecord[] {
    return [...this.started.relay.store.recordsBetween(this.deviceOf(kid).device, 0, Number.MAX_SAFE_INTEGER)];
  }

  sentMark(): number {
    const mark = readSentMark(this.keys);
    assert.ok(mark.ok);
    return mark.value!;
  }

  /** Both seeds were there once, and one is left. */
  hasEnded(): boolean {
    return this.sinceDecision() !== undefined && this.keys.read("succession") === undefined;
  }

  /** What the device has said since it last told of a succession that is under way. */
  sinceDecision(): string[] | undefined {
    const at = this.lines.map((line) => line.includes("event=succession ")).lastIndexOf(true);
    return at < 0 ? undefined : this.lines.slice(at);
  }

  /** The relay's newest word on the new chain; -1 before it. */
  received(): number {
    const words = (this.sinceDecision() ?? []).flatMap(
      (line) => /event=acknowledged received=(\d+)/.exec(line)?.[1] ?? [],
    );
    return Number(words[words.length - 1] ?? -1);
  }

  isOff(): boolean {
    return this.simulation.state === "off";
  }

  /** Runs to the end of the succession, or to where the power goes. */
  async runOut(): Promise<void> {
    await this.run(5 * MINUTE, () => this.isOff() || this.received() >= 1 || this.hasEnded());
    await this.started.settled();
    await this.run(5 * MINUTE, () => this.isOff() || this.hasEnded());
  }

  /** Records are sent, lost on the way, and then by the device, whose power is off afterwards. */
  async lose(): Promise<{ readonly kid: string; readonly head: number; readonly late: Late[] }> {
    if (this.isOff()) await this.powerOn();
    const first = this.headSeq;
    await this.until("records", () => this.headSeq >= Math.max(first, 0) + 6);
    await this.climb(this.started);
    const { target } = this.network;
    const late: Late[] = [];
    this.network.target = {
      request: async (request, signal) => {
        if (!request.path.endsWith("/records")) return target!.request(request, signal);
        late.push(() => target!.request(request, new AbortController().signal));
        return { outcome: "timed-out", detail: "lost" };
      },
    };
    const head = this.headSeq;
    const snapshot = this.flash.snapshot();
    await this.until("a sending", () => this.sentMark() > head + 1);
    await this.cutPower();
    this.flash.restore(snapshot);
    this.network.target = target;
    return { kid: this.kid, head, late };
  }

  /** All devices at the relay whose genesis names `kid` as its predecessor. */
  successorsOf(kid: string): string[] {
    return this.started.relay.store
      .devicesAfter(new Uint8Array(0), 100_000)
      .filter(({ device }) => {
        const genesis = readGenesis(parsed(this.started.relay.store.recordAt(device, 0)!.bytes).payload);
        return genesis.ok && genesis.value.predecessor && toHex(genesis.value.predecessor.kid) === kid;
      })
      .map((device) => toHex(device.kid));
  }

  /** One new chain, which continues the old one where the relay stood; the old one is closed, and nothing contradicts. */
  async checkSucceeded(former: { readonly kid: string; readonly head: number }, from = 0): Promise<void> {
    await this.runOut();
    assert.ok(
      this.hasEnded(),
      `the succession has not ended:\n${this.lines
        .filter((line) => !line.includes("DEVICE_BUSY"))
        .slice(-12)
        .join("\n")}`,
    );
    assert.notEqual(this.kid, former.kid);
    assert.deepEqual(this.successorsOf(former.kid), [this.kid]);
    await this.checkNothingLost(this.started, from);
    const old = this.deviceOf(former.kid);
    assert.equal(old.state, "closed");
    const chain = this.chainOf(former.kid);
    const head = chain[chain.length - 1]!;
    assert.equal(head.seq, former.head);
    assert.deepEqual(this.started.relay.store.forks(old.device), []);
    assert.deepEqual(this.network.equivocations, []);
    const genesis = readGenesis(parsed(this.chainOf(this.kid)[0]!.bytes).payload);
    assert.ok(genesis.ok);
    assert.deepEqual(genesis.value.predecessor, { kid: old.kid, seq: head.seq, id: head.id });
    assert.equal(this.keys.read("succession"), undefined, "one seed is left");
    assert.equal(this.keys.read("token"), undefined);
  }

  /** Fills the journal to the brim with gap records that the relay has logged; the position of the last one. */
  async bringGaps(): Promise<number> {
    const { kid, started } = this;
    const records = this.#fillWithGaps();
    const request = encodeRequest({ nonce: new Uint8Array(NONCE_BYTES), pinnedSize: 0 });
    for (const record of records) {
      const body = new Uint8Array([...request, ...record]);
      const answer = await post(`${started.url}/v1/devices/${kid}/records`, body, "application/cbor-seq");
      assert.equal(answer.status, 200);
    }
    await started.settled();
    return parsed(records[records.length - 1]!).header.seq;
  }

  /** Appends gap records, which may use the reserve, until not even a position goes into the open sector. */
  #fillWithGaps(): Uint8Array[] {
    const identity = Identity.open({ keys: this.keys, crypto: relayCrypto });
    assert.ok(identity.ok && identity.value);
    const { value: signer } = identity;
    const journal = Journal.mount({ flash: this.flash, sha256: relayCrypto.sha256, signers: [signer] });
    assert.ok(journal.ok);
    const first = journal.value.head!.seq + 1;
    const gap = (bytes: number) => {
      const lengths = Array.from({ length: GAP_SUMMARIES_MAX }, (_, i) => Math.max(0, Math.min(64, bytes - 64 * i)));
      const names = lengths.filter((n) => n > 0).map((n, i) => String.fromCharCode(0x41 + i).padEnd(n, "x"));
      return encodeGap({
        first: 1,
        last: 1,
        count: 1,
        lastId: new Uint8Array(32),
        root: new Uint8Array(32),
        summaries: names.map((name) => ({ name, minimum: 0, maximum: 0, mean: 0, values: 1 })),
      });
    };
    for (let bytes = 2000; bytes >= 0; ) {
      const at = journal.value.head!;
      const next = { kind: Kind.gap, payload: gap(bytes), uptimeMs: at.uptimeMs, clock: ClockState.unset } as const;
      const written = journal.value.commit(nextBody(signer.kid, at, next));
      if (!written.ok) assert.equal(written.failure.code, "JOURNAL_FULL");
      bytes = written.ok ? 2000 : bytes - 4;
    }
    const records: Uint8Array[] = [];
    const { seq } = journal.value.head!;
    journal.value.records(first, seq - first + 1, (_seq, bytes) => records.push(bytes) > 0);
    assert.equal(records.length, seq - first + 1);
    return records;
  }
}
