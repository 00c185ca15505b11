import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { explain, ok, type Result } from "tallystick/codes/codes";
import { didKey, kidOf } from "tallystick/identity/key";
import type { Flash } from "tallystick/journal/flash";
import { Journal } from "tallystick/journal/journal";
import { alignUp, FRAME_HEADER_BYTES, RECORDS_OFFSET } from "tallystick/journal/layout";
import type { RecordSigner } from "tallystick/journal/tail";
import { encodeGenesis } from "tallystick/record/payload";
import { encodeBody, Kind } from "tallystick/record/record";
import { PowerCut } from "../../hosts/simulator/board.js";
import { type FlashCut, NorFlash } from "../../hosts/simulator/world/nor.js";

/** Journals as `tallystick inspect` and `fsck` meet them: on flash cells, by a device with a real key. */

export const SECTOR_BYTES = 4096;

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(bytes).digest());

/** A device's key, from a seed: what it signs verifies by the key that its genesis names. */
export function deviceKey(seed: string): {
  readonly signer: RecordSigner;
  readonly publicKey: Uint8Array;
  did: string;
} {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), sha256(Buffer.from(seed))]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const key = createPublicKey(privateKey);
  const publicKey = new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(-32));
  return {
    publicKey,
    did: didKey(publicKey),
    signer: {
      kid: kidOf(sha256, publicKey),
      sign: (message) => ok(new Uint8Array(sign(null, message, privateKey))),
      verify: (message, signature) => verify(null, message, key, signature),
    },
  };
}

export interface DeviceOptions {
  readonly writeUnitBytes?: 1 | 16 | 32;
  readonly sectors?: number;
  readonly seed?: string;
}

/** A device that does nothing but write its journal. */
export class JournalDevice {
  readonly flash: NorFlash;
  readonly key: ReturnType<typeof deviceKey>;

  constructor({ writeUnitBytes = 1, sectors = 8, seed = "attic" }: DeviceOptions = {}) {
    this.flash = new NorFlash({ sizeBytes: sectors * SECTOR_BYTES, writeUnitBytes });
    this.key = deviceKey(seed);
    must(Journal.format(this.flash));
  }

  mount(flash: Flash = this.flash): Journal {
    return must(Journal.mount({ flash, sha256, signers: [this.key.signer] }));
  }

  /** Commits `count` records, genesis first of all, in one start; releases them, and those before, where `release` says so. */
  write(count: number, { release = false, journal = this.mount() } = {}): Journal {
    if (release && journal.head) must(journal.release(journal.head));
    for (let n = 0; n < count; n++) {
      const position = must(journal.commit(this.#next(journal)));
      if (release) must(journal.release(position));
    }
    return journal;
  }

  /**
   * Commits one record more in the same start as `journal`, and the power goes when `bits` bits of a part of its frame are
   * cleared. An opening that it needs is finished before.
   */
  cutCommit(journal: Journal, part: "header" | "body" | "signature", bits: number): void {
    const body = this.#next(journal);
    const unit = this.flash.writeUnitBytes;
    let start: number | undefined;
    this.flash.onOperation = (_, offset) => {
      if (offset % SECTOR_BYTES < RECORDS_OFFSET) return;
      start ??= offset;
      const behind = offset - start;
      const signature = alignUp(FRAME_HEADER_BYTES + body.length, Math.max(4, unit));
      const now = behind === 0 ? "header" : behind < signature ? "body" : "signature";
      // Planned here, it is of the operation that comes.
      if (now === part) this.flash.cutAt(torn(1, bits));
    };
    try {
      this.#cut(undefined, () => void journal.commit(body));
    } finally {
      this.flash.onOperation = undefined;
    }
  }

  /** Starts, and the power goes at an operation of the recovery. */
  cutMount(cut: FlashCut): void {
    this.#cut(cut, () => void this.mount());
  }

  /** The partition as the device reads it. */
  image(): Uint8Array {
    return this.flash.read(0, this.flash.sizeBytes);
  }

  /** Whether the power went in `run`. */
  isCutIn(cut: FlashCut | undefined, run: () => void): boolean {
    this.flash.cutAt(cut);
    try {
      run();
      return false;
    } catch (error) {
      if (error instanceof PowerCut) return true;
      throw error;
    } finally {
      this.flash.cutAt(undefined);
    }
  }

  #cut(cut: FlashCut | undefined, run: () => void): void {
    if (!this.isCutIn(cut, run)) throw new Error("nothing was cut");
  }

  #next(journal: Journal): Uint8Array {
    const { head } = journal;
    const payload = head
      ? Uint8Array.from({ length: 50 }, (_, i) => (i * 7 + head.seq) & 0xff)
      : encodeGenesis({
          publicKey: this.key.publicKey,
          model: "simulator",
          firmware: { version: "1.0.0", sha256: new Uint8Array(32) },
          quantities: [{ name: "temperature", unit: "Cel" }],
          markIntervalS: 3600,
        });
    return encodeBody(
      {
        kid: this.key.signer.kid,
        kind: head ? Kind.readings : Kind.genesis,
        boot: 0,
        seq: head ? head.seq + 1 : 0,
        prev: head?.id ?? new Uint8Array(32),
        uptimeMs: 60_000,
        clock: 0,
      },
      payload,
    );
  }
}

/** Of a recovery that voids a torn body: zeros over the slot behind, then the verdict, twice. */
export const VERDICT = { spend: 1, first: 2, second: 3 } as const;

/** Of one that carries a record into the next sector: erase, header, the record's header, its body, position, signature. */
export const CARRYING = { erase: 1, header: 2, record: 3, body: 4, position: 5, signature: 7 } as const;

/** Records that leave no room for another in a sector, by write unit. */
export const FILLING_RECORDS = { 1: 19, 16: 19, 32: 17 } as const;

/** The first part of what a program was to clear. */
export const torn = (operation: number, bits: number): FlashCut => ({
  operation,
  program: { kind: "prefix", bits, edge: false },
});

function must<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(explain(result.failure));
  return result.value;
}
