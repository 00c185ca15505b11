import assert from "node:assert/strict";
import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { nextBody } from "tallystick/chain/chain";
import type { Result } from "tallystick/codes/codes";
import { Gaps } from "tallystick/device/gaps";
import type { KeyStore } from "tallystick/identity/crypto";
import type { Journal } from "tallystick/journal/journal";
import { rootOf } from "tallystick/merkle/merkle";
import { encodeCbor } from "tallystick/record/cbor";
import { readGap } from "tallystick/record/gap";
import type { EarlierGap } from "tallystick/record/gap-summary";
import { encodeGenesis } from "tallystick/record/payload";
import { Kind, parseRecord, recordId } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { PowerCut } from "../../hosts/simulator/board.js";
import type { NorFlash } from "../../hosts/simulator/world/nor.js";
import { MemoryKeys } from "../fixtures/device.js";
import { ledgered, mounted, must, quickSigner, recordOf, sha256 } from "../journal/rig.js";

/** Journal and gap policy as a device uses them, without sampler, sync and clock: fast enough for thousands of cuts. */

const PUBLIC_KEY = Uint8Array.from(
  Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex"),
);

/** A key store in which the power can go: `cutBefore` or `cutAfter` the write of that number. */
export class CuttableKeys implements KeyStore {
  readonly #keys = new MemoryKeys();
  writes = 0;
  cut: { readonly write: number; readonly after: boolean } | undefined;

  read(name: string): Uint8Array | undefined {
    return this.#keys.read(name);
  }

  write(name: string, value: Uint8Array): void {
    const hit = ++this.writes === this.cut?.write;
    if (hit && !this.cut!.after) throw new PowerCut("before a key is written");
    this.#keys.write(name, value);
    if (hit) throw new PowerCut("after a key was written");
  }

  delete(name: string): void {
    this.#keys.delete(name);
  }

  snapshot(): CuttableKeys {
    const copy = new CuttableKeys();
    const gap = this.#keys.read("gap");
    if (gap) copy.#keys.write("gap", gap);
    return copy;
  }
}

/** A temperature, a fault and thirty pressures: records of some 400 bytes. */
export function pack(value: number): Uint8Array {
  return encodeCbor([
    new Map<number, string | number>([
      [2, value],
      [6, -1],
      [-2, "temperature"],
      [-4, "Cel"],
    ]),
    new Map<number, string | number>([
      [3, "no-ack"],
      [-2, `humidity/${"x".repeat(40)}`],
      [-4, "%RH"],
    ]),
    ...Array.from({ length: 30 }, (_, i) => new Map<number, string | number>([[2, value + i]])).map((entry, i) =>
      i === 0 ? entry.set(-2, "pressure").set(-4, "Pa") : entry,
    ),
  ]);
}

export class Recorder {
  /** Every record that was reported as committed, or that a later start found as committed, by position. */
  committed: Uint8Array[] = [];
  /** Positions below are acknowledged. */
  acknowledged = 0;
  /** Codes that refused a record, since the last start. */
  refused: string[] = [];
  /** The power goes right after a record is signed: its body is durable, and no cell has its signature. */
  cutWhenSigned = false;
  readonly #plain = quickSigner("recorder");
  readonly signer = ledgered({
    ...this.#plain,
    sign: (message) => {
      if (this.cutWhenSigned) throw new PowerCut("after signing");
      return this.#plain.sign(message);
    },
  });

  constructor(
    readonly flash: NorFlash,
    public keys = new CuttableKeys(),
  ) {}

  /** The gap records among what was committed. */
  gaps(): EarlierGap[] {
    return gapsIn(this.committed);
  }

  /** One start: mounts, looks at all that is held or at the newest alone, then records `records` packs. */
  async start(records: number, look: "all" | "newest" = "all"): Promise<void> {
    this.refused = [];
    const journal = mounted(this.flash, this.signer);
    const gaps = new Gaps({ journal, kid: this.signer.kid, keys: this.keys, sha256 });
    this.observe(journal, look);
    gaps.resume();
    await this.#record(journal, gaps, records);
  }

  /** Goes on in a journal that is mounted. */
  commitAll(journal: Journal, records: number): Promise<void> {
    return this.#record(journal, new Gaps({ journal, kid: this.signer.kid, keys: this.keys, sha256 }), records);
  }

  async #record(journal: Journal, gaps: Gaps, records: number): Promise<void> {
    if (journal.head === undefined) this.#genesis(journal);
    for (let n = 0; n < records; n++) {
      const payload = pack(journal.head!.seq % 50);
      const composed = await gaps.compose(payload.length + 140);
      if (composed.ok && composed.value !== undefined) {
        const seq = this.#commit(journal, Kind.gap, composed.value);
        if (seq !== undefined) must(gaps.committed(seq));
      } else if (!composed.ok) this.refused.push(composed.failure.code);
      this.#commit(journal, Kind.readings, payload);
    }
  }

  #genesis(journal: Journal): void {
    this.#commit(
      journal,
      Kind.genesis,
      encodeGenesis({
        publicKey: PUBLIC_KEY,
        model: "recorder",
        firmware: { version: "0", sha256: new Uint8Array(32) },
        quantities: [{ name: "temperature", unit: "Cel" }],
        markIntervalS: 60,
      }),
    );
  }

  #commit(journal: Journal, kind: Kind, payload: Uint8Array): number | undefined {
    const { head } = journal;
    const uptimeMs = (head?.uptimeMs ?? 0) + 1;
    const body = nextBody(this.signer.kid, head, { kind, payload, uptimeMs, clock: 0 });
    const committed: Result<{ readonly seq: number }> = journal.commit(body);
    if (!committed.ok) {
      this.refused.push(committed.failure.code);
      return undefined;
    }
    const { seq } = committed.value;
    if (seq !== this.committed.length) throw new Error(`committed ${seq}, expected ${this.committed.length}`);
    this.committed.push(recordOf(this.#plain, body));
    return seq;
  }

  /** What a mount tells must be all that was committed, but for what is acknowledged or named by a committed gap. */
  observe(journal: Journal, look: "all" | "newest" = "all"): void {
    const head = journal.head?.seq ?? -1;
    const known = this.committed.length;
    if (head < known - 1 || head > known) throw new Error(`head ${head}, ${known} records were committed`);
    if (head === known) this.committed.push(must(journal.record(head)));
    const missing: number[] = [];
    for (let seq = look === "all" ? 0 : Math.max(0, known - 1); seq < known; seq++) {
      const bytes = journal.record(seq);
      if (bytes.ok && !equalBytes(bytes.value, this.committed[seq]!)) throw new Error(`seq ${seq} has changed`);
      if (!bytes.ok) {
        if (bytes.failure.code !== "JOURNAL_RECORD_ABSENT") throw new Error(`seq ${seq}: ${bytes.failure.code}`);
        missing.push(seq);
      }
    }
    const gaps = missing.length > 0 ? this.gaps() : [];
    for (const seq of missing)
      if (seq >= this.acknowledged && !gaps.some(({ gap }) => seq >= gap.first && seq <= gap.last))
        throw new Error(`seq ${seq} was erased, neither acknowledged nor named`);
    if (this.signer.conflict !== undefined) throw new Error(this.signer.conflict);
  }
}

/** The gap records of a chain that begins with genesis. */
export function gapsIn(committed: readonly Uint8Array[]): EarlierGap[] {
  return committed.flatMap((bytes, seq) => {
    const record = must(parseRecord(bytes));
    return record.header.kind === Kind.gap
      ? [{ seq, id: recordId(sha256, bytes), gap: must(readGap(record.payload)) }]
      : [];
  });
}

/** Root, count and summaries of every gap, from the records as they were committed. */
export function checkGaps(committed: readonly Uint8Array[]): void {
  const gaps = gapsIn(committed);
  gaps.forEach(({ seq, gap }, n) => {
    const from = gap.takenOver?.from ?? gap.first;
    const ids = committed.slice(from, gap.last + 1).map((bytes) => recordId(sha256, bytes));
    assert.equal(toHex(gap.root), toHex(rootOf(sha256, ids)), `the root of the gap at ${seq}`);
    assert.equal(toHex(gap.lastId), toHex(ids[ids.length - 1]!));
    const earlier = gaps[n - 1];
    if (gap.takenOver) {
      assert.equal(gap.takenOver.seq, earlier?.seq);
      assert.equal(toHex(gap.takenOver.id), toHex(earlier!.id));
      assert.equal(gap.first, earlier!.gap.first);
    }
    const named = [];
    for (let at = gap.first; at <= gap.last; at++) named.push(at);
    assert.equal(gap.count, named.length);
    const values = new Map<string, number[]>();
    for (const at of named) {
      const record = must(parseRecord(committed[at]!));
      if (record.header.kind !== Kind.readings) continue;
      for (const { name, value } of must(readPack(record.payload, record.header.clock)))
        if (typeof value === "number") values.set(name, [...(values.get(name) ?? []), value]);
    }
    assert.deepEqual(gap.summaries.map(({ name }) => name).sort(), [...values.keys()].sort());
    for (const summary of gap.summaries) {
      const all = values.get(summary.name)!;
      assert.equal(summary.values, all.length);
      assert.equal(summary.minimum, Math.min(...all));
      assert.equal(summary.maximum, Math.max(...all));
      const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
      assert.ok(Math.abs(summary.mean - mean) < 1e-9 * Math.max(1, Math.abs(mean)), `${summary.mean} ${mean}`);
    }
  });
}
