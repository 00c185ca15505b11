import { toHex } from "tallystick/bytes/bytes";
import { fail } from "tallystick/codes/codes";
import { BATCH_MAX_BYTES } from "tallystick/sync/messages";
import { Attempts, type AttemptsOptions, placeOf } from "./attempts.js";
import { type Ingested, type IngestOptions, ingest } from "./ingest.js";
import { type KeyBudgets, OwnKeyBudgets } from "./key-budgets.js";
import { type Refusal, Refused } from "./problem.js";
import { heldBack } from "./standing.js";
import { isOfAll } from "./store/database.js";
import type { StoredDevice } from "./store/store.js";
import { Rank, type VerifierPool } from "./verify/pool.js";
import type { VerifiedBatch } from "./verify/verified.js";

/**
 * The way of a batch from its admission to the disk:
 *
 *   admitted (bounds, what is owed) → verified in a thread (verify/) → in its device's order → ingested with all others that
 *   are ready, in one durable transaction → answered
 *
 * **Bounds.** Once what waits takes INTAKE_MAX_BYTES in all, or INTAKE_SENDER_MAX_BYTES of one sender and key, the next batch
 * is refused before its body is looked at, and the device brings it again: so it is less than one batch more.
 *
 * **Who sends what does not hold, or nothing that is new,** owes for it, and while he owes more than a few he comes behind
 * everybody else, by address, and only as long as few wait there: nobody can keep others out by sharing their address, only
 * slow them down to what is left over. A batch ends at its first signature that does not hold. An address whose last batch
 * brought something comes before those that nothing is known of: a flood from many addresses is as unknown as they are new.
 *
 * **A key has a budget of records** (key-budgets.ts), over PostgreSQL one for all processes.
 *
 * **One transaction for many.** While the disk makes one durable the next ones gather, so that the disk's slowness sets how
 * many share it and not how many there are a second. What throws in a shared transaction is tried again alone, unless it is
 * the disk that refuses: one batch never fails another.
 */

/** What waits or is being examined, in all: 32 of the largest batches for each of as many threads as there may be. */
export const INTAKE_MAX_BYTES = 512 * BATCH_MAX_BYTES;
/** The same of addresses that are not known to have brought something: the rest is for those that are. */
export const INTAKE_UNPROVEN_MAX_BYTES = INTAKE_MAX_BYTES / 2;
/** The same of one key from one address. A device waits for its answer before it sends on; a broker may hold some. */
export const INTAKE_SENDER_MAX_BYTES = 16 * BATCH_MAX_BYTES;
/** Batches of senders who owe that wait at once. */
export const INTAKE_SUSPECTS_MAX = 32;
/** Batches that do not hold or bring nothing, of one address, before it comes behind others; and the time after which one is forgiven. */
export const BAD_BATCHES_BURST = 10;
export const BAD_BATCHES_REFILL_MS = 1000;
/** Addresses that are known to have brought something new. */
export const PROVEN_MAX = 4096;
/** Records in one transaction, but for those of the batch that reaches it. */
const GROUP_MAX_RECORDS = 4096;
/** Records that are worth a transaction of their own; and how long fewer wait for others that are being verified. */
const GROUP_MIN_RECORDS = 512;
const GATHER_MS = 4;
/** When to come again: the queue is short. */
const RETRY_AFTER_S = 1;

export interface IntakeOptions extends IngestOptions {
  readonly pool: VerifierPool;
  /** Milliseconds of a clock that is never set back. */
  readonly steadyMs: () => number;
  /** New records are durable: the sequencer has something to do. */
  readonly onStored: () => void;
  /** What each key may bring; by default of this process, with its own limits. */
  readonly keyBudgets?: KeyBudgets;
  readonly badBatches?: Partial<AttemptsOptions>;
}

/** Verified, and waiting for a transaction. */
interface Ready {
  readonly device: StoredDevice;
  readonly batch: VerifiedBatch;
  readonly resolve: (ingested: Ingested) => void;
  readonly reject: (error: unknown) => void;
}

export class Intake {
  readonly #options: IntakeOptions;
  readonly #badBatches: Attempts;
  readonly #budgets: KeyBudgets;
  readonly #bytesOf = new Map<string, number>();
  /** Addresses whose last batch brought something new, the newest last. */
  readonly #proven = new Set<string>();
  /** The newest batch of each device that is under way: the next one is ingested after it. */
  readonly #newest = new Map<number, Promise<unknown>>();
  readonly #ready: Ready[] = [];
  #readyRecords = 0;
  /** Batches that are admitted and not in a transaction yet. */
  #underWay = 0;
  #gathering: NodeJS.Timeout | undefined;
  #due: NodeJS.Immediate | undefined;
  #bytes = 0;
  #unprovenBytes = 0;
  #suspects = 0;
  #closed = false;

  constructor(options: IntakeOptions) {
    const { steadyMs, badBatches, keyBudgets } = options;
    this.#options = options;
    const limit = { burst: BAD_BATCHES_BURST, refillMs: BAD_BATCHES_REFILL_MS };
    this.#badBatches = new Attempts({ nowMs: steadyMs, ...limit, ...badBatches });
    this.#budgets = keyBudgets ?? new OwnKeyBudgets(steadyMs);
  }

  /** Bytes of batches that are admitted and not ingested yet. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Why nothing of `device` is taken from `address` now; undefined where a batch may come. INTAKE_FULL, KEY_BUDGET_SPENT. */
  refusal(device: StoredDevice, address: string): Refusal | undefined {
    const overdrawn = this.#budgets.refusal(device.device);
    if (overdrawn) return overdrawn;
    if (this.#bytes >= INTAKE_MAX_BYTES) return full(`${INTAKE_MAX_BYTES} bytes wait`);
    if ((this.#bytesOf.get(senderOf(device, address)) ?? 0) >= INTAKE_SENDER_MAX_BYTES)
      return full(`${INTAKE_SENDER_MAX_BYTES} bytes of ${toHex(device.kid)} from ${placeOf(address).name} wait`);
    const rank = this.#rankOf(address);
    if (rank !== Rank.proven && this.#unprovenBytes >= INTAKE_UNPROVEN_MAX_BYTES)
      return full(`${INTAKE_UNPROVEN_MAX_BYTES} bytes from addresses that nothing is known of wait`);
    if (rank === Rank.suspect && this.#suspects >= INTAKE_SUSPECTS_MAX)
      return full(`${INTAKE_SUSPECTS_MAX} batches from addresses that send what does not hold wait`);
    return undefined;
  }

  /** Takes in nothing more: what is not in a transaction yet is refused. Its sender has gone, or brings it again. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#gathering);
    clearImmediate(this.#due);
    for (const { reject } of this.#ready.splice(0)) reject(stopping());
  }

  /**
   * Takes a batch that `refusal` has let come; resolves when it is durable. Rejects with what the database throws, and with
   * RELAY_STOPPING once it is closed.
   */
  async take(device: StoredDevice, sequence: Uint8Array, address: string): Promise<Ingested> {
    const sender = senderOf(device, address);
    const { name } = placeOf(address);
    const rank = this.#rankOf(address);
    this.#account(sender, rank, sequence.length, 1);
    try {
      const verified = this.#options.pool.verify(device, sequence, { name, rank });
      const ingested = this.#inOrder(device, verified);
      const { failure } = await verified;
      const done = await ingested;
      // Records are public: whoever sends held ones again and again costs as much as with false ones.
      this.#proven.delete(name);
      if (failure || done.stored === 0) this.#badBatches.failed(address);
      else this.#prove(name);
      return done;
    } catch (error) {
      // Whatever became of it on the way: the threads end, and the database.
      throw this.#closed ? stopping() : error;
    } finally {
      this.#account(sender, rank, -sequence.length, -1);
    }
  }

  #rankOf(address: string): Rank {
    if (this.#badBatches.refusal(address)) return Rank.suspect;
    return this.#proven.has(placeOf(address).name) ? Rank.proven : Rank.unknown;
  }

  #prove(name: string): void {
    this.#proven.add(name);
    if (this.#proven.size > PROVEN_MAX) this.#proven.delete(this.#proven.values().next().value!);
  }

  #account(sender: string, rank: Rank, bytes: number, batches: number): void {
    const left = (this.#bytesOf.get(sender) ?? 0) + bytes;
    if (left === 0) this.#bytesOf.delete(sender);
    else this.#bytesOf.set(sender, left);
    this.#bytes += bytes;
    if (rank !== Rank.proven) this.#unprovenBytes += bytes;
    if (rank === Rank.suspect) this.#suspects += batches;
  }

  /** Threads may end in another order than they began: a device's batches keep theirs. */
  #inOrder(device: StoredDevice, verified: Promise<VerifiedBatch>): Promise<Ingested> {
    const before = this.#newest.get(device.device);
    this.#underWay++;
    const ingested = (async () => {
      const batch = await verified.catch((error: unknown) => {
        this.#underWay--;
        this.#schedule();
        throw error;
      });
      // How it ended its own sender hears.
      await before?.catch(() => undefined);
      if (this.#closed) throw stopping();
      return await new Promise<Ingested>((resolve, reject) => {
        this.#ready.push({ device, batch, resolve, reject });
        this.#readyRecords += batch.count;
        this.#schedule();
      });
    })();
    this.#newest.set(device.device, ingested);
    const forget = (): void => {
      if (this.#newest.get(device.device) === ingested) this.#newest.delete(device.device);
    };
    ingested.then(forget, forget);
    return ingested;
  }

  /**
   * At once where nothing else is on its way, or enough is ready; else when that is, or GATHER_MS are over. A transaction
   * costs as much as some hundred records.
   */
  #schedule(): void {
    if (this.#closed) return;
    const isDue = this.#readyRecords >= GROUP_MIN_RECORDS || this.#underWay === this.#ready.length;
    if (isDue) {
      this.#gathering = clearTimeout(this.#gathering) as undefined;
      this.#due ??= setImmediate(() => this.#ingestGroup());
    } else if (!this.#due) this.#gathering ??= setTimeout(() => this.#ingestGroup(), GATHER_MS);
  }

  #ingestGroup(): void {
    clearTimeout(this.#gathering);
    clearImmediate(this.#due);
    this.#gathering = this.#due = undefined;
    let records = 0;
    const end = this.#ready.findIndex(({ batch }) => {
      records += batch.count;
      return records >= GROUP_MAX_RECORDS;
    });
    const group = this.#ready.splice(0, end < 0 ? this.#ready.length : end + 1);
    // The last one that was waited for has failed.
    if (group.length === 0) return;
    this.#readyRecords -= records;
    this.#underWay -= group.length;
    if (this.#ready.length > 0) this.#schedule();
    const done = this.#ingestTogether(group) ?? group.flatMap((one) => this.#ingestTogether([one]) ?? []);
    const stored = group.reduce((sum, one, i) => {
      const outcome = done[i]!;
      if ("error" in outcome) one.reject(outcome.error);
      else one.resolve(outcome);
      return "error" in outcome ? sum : sum + outcome.stored;
    }, 0);
    if (stored > 0) this.#options.onStored();
  }

  /** One transaction; undefined where it failed and there is more than one to blame. */
  #ingestTogether(group: readonly Ready[]): (Ingested | { readonly error: unknown })[] | undefined {
    try {
      const after: (() => void)[] = [];
      const done = this.#options.store.transaction(() =>
        group.map((one) => {
          const ingested = this.#ingestOne(one);
          after.push(this.#budgets.owe(one.device.device, ingested.stored) ?? NOTHING);
          return ingested;
        }),
      );
      for (const owe of after) owe();
      return done;
    } catch (error) {
      // What is of all: each batch tried alone would fail as well, and wait as long.
      return group.length > 1 && !isOfAll(error) ? undefined : group.map(() => ({ error }));
    }
  }

  #ingestOne({ device, batch }: Ready): Ingested {
    // The batch may have waited, and an operator decided meanwhile.
    const held = heldBack(this.#options.store, device.device);
    return held ? { stored: 0, repeated: 0, backdated: [], refusal: held } : ingest(this.#options, device, batch);
  }
}

const NOTHING = (): void => undefined;

function senderOf({ device }: StoredDevice, address: string): string {
  return `${device} ${placeOf(address).name}`;
}

function stopping(): Refused {
  return new Refused(fail("RELAY_STOPPING", "it has not taken the batch in"));
}

function full(what: string): Refusal {
  return { ...fail("INTAKE_FULL", what), retryAfterS: RETRY_AFTER_S };
}
