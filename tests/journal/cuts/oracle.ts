import { equalBytes, toHex } from "tallystick/bytes/bytes";
import type { MountReport } from "tallystick/journal/report";
import type { Told, ToldHead } from "./session.js";

/** Something that a journal must never do. */
export class Violation extends Error {
  override name = "Violation";
}

interface Promised {
  readonly id: Uint8Array;
  /** SHA-256 of the body; undefined until it is known, of a record whose commit was cut before it was reported. */
  content: Uint8Array | undefined;
}

/**
 * What must hold of a journal, by what it has told and nothing else: what it once promised stays, byte for byte; what it
 * gives out was offered to it; and no position ever has two contents.
 */
export class Oracle {
  /** By position, of the head's chain. A record is promised from the moment that anyone learnt of it. */
  promised: Promised[] = [];
  /** Positions below need not be held any more. */
  released = 0;
  /** Recoveries are cut in such a way that one may have to wait for a release. */
  mayWait = false;
  /** One has waited. */
  waited = false;
  /** What may stand at a position whose commit was never reported: contents, in hexadecimal. */
  #offered = new Map<number, string[]>();
  /** Everything that was ever given out, by position: what others may hold of this chain. */
  #givenOut = new Map<number, string>();
  /** Key of the head's chain, in hexadecimal. */
  #kid: string | undefined;
  /** Whose chain the last body was offered for. */
  #offeredBy: string | undefined;
  /** Offered as the genesis of another key's chain: contents, by key. */
  readonly #begun = new Map<string, string[]>();

  static after(other: Oracle): Oracle {
    const oracle = new Oracle();
    oracle.promised.push(...other.promised);
    oracle.released = other.released;
    oracle.#kid = other.#kid;
    return oracle;
  }

  /** The first position that has to be held; that of the newest record where all are released. */
  get unreleased(): number {
    return Math.max(0, Math.min(this.released, this.promised.length - 1));
  }

  /** Throws a Violation where `told` contradicts what was told before. */
  hear(told: Told): void {
    switch (told.kind) {
      case "mounted":
        this.#head(told.head, told.tail);
        break;
      case "head":
        this.#head(told.head, "decided");
        break;
      case "offered":
        if (this.#isOther(told.kid)) {
          if (told.seq !== 0) throw new Violation(`a new key's chain begins at seq ${told.seq}`);
          this.#genesisOf(told.kid).push(toHex(told.content));
          this.#offeredBy = toHex(told.kid);
          break;
        }
        this.#kid ??= toHex(told.kid);
        this.#offeredBy = this.#kid;
        if (told.seq !== this.promised.length)
          throw new Violation(`a record for seq ${told.seq} is accepted, ${this.promised.length} comes next`);
        this.#offers(told.seq).push(toHex(told.content));
        break;
      case "refused":
        if (this.#offeredBy === this.#kid) this.#offers(this.promised.length).pop();
        else this.#begun.get(this.#offeredBy!)?.pop();
        break;
      case "committed":
        if (this.#offeredBy !== this.#kid) this.#begin(this.#offeredBy!);
        if (told.seq !== this.promised.length)
          throw new Violation(`seq ${told.seq} was committed, expected ${this.promised.length}`);
        this.#promise(told.id, this.#offers(told.seq).at(-1));
        break;
      case "read":
        this.#read(told);
        break;
      case "unread":
        if (told.seq >= this.released) throw new Violation(`seq ${told.seq} is lost: ${told.code}`);
        break;
      case "releasing":
        this.released = Math.max(this.released, told.seq + 1);
        break;
      case "held":
        if (this.promised.length > 0 && told.first > this.unreleased)
          throw new Violation(`seq ${told.first} is the oldest held, only those below ${this.released} are released`);
        if (told.last !== this.promised.length - 1)
          throw new Violation(`the last one held is ${told.last}, expected ${this.promised.length - 1}`);
        break;
      case "unmounted":
        throw new Violation(`mount failed: ${told.code}`);
      case "failed":
        throw new Violation(`${told.what} failed: ${told.code}`);
    }
  }

  #head(head: ToldHead | undefined, tail: MountReport["tail"] | "decided"): void {
    if (head !== undefined && this.#isOther(head.kid)) this.#begin(toHex(head.kid));
    const seq = head?.seq ?? -1;
    const last = this.promised.length - 1;
    if (seq < last) throw new Violation(`the head is ${seq}, ${last} was promised (tail ${tail})`);
    if (seq > last + 1) throw new Violation(`the head is ${seq}, only ${last + 1} can have been under way`);
    // The reserve is there so that a recovery always finds room.
    if (tail === "undecided" && !this.mayWait)
      throw new Violation("there was no room to decide about the journal's end");
    this.waited ||= tail === "undecided";
    // Nothing that was under way may appear any more once a start has told that it is not there.
    if (seq === last && tail !== "undecided" && tail !== "decided") {
      this.#offered.delete(last + 1);
      this.#begun.clear();
    }
    if (head === undefined) return;
    if (seq === last) {
      if (!equalBytes(head.id, this.promised[seq]!.id)) throw new Violation(`the head at seq ${seq} has changed`);
    } else {
      if (this.#offers(seq).length === 0) throw new Violation(`the head is ${seq}, which was never offered`);
      this.#promise(head.id, undefined);
    }
  }

  #isOther(kid: Uint8Array): boolean {
    return this.#kid !== undefined && toHex(kid) !== this.#kid;
  }

  #genesisOf(kid: Uint8Array): string[] {
    const text = toHex(kid);
    let offers = this.#begun.get(text);
    if (offers === undefined) {
      offers = [];
      this.#begun.set(text, offers);
    }
    return offers;
  }

  /** The journal's head is of another key's chain: of one that was offered, and from then on only that. */
  #begin(kid: string): void {
    const genesis = this.#begun.get(kid);
    if (genesis === undefined || genesis.length === 0) throw new Violation(`a chain of ${kid} was never offered`);
    this.#begun.delete(kid);
    this.#kid = kid;
    this.promised = [];
    this.released = 0;
    this.#offered = new Map([[0, genesis]]);
    this.#givenOut = new Map();
  }

  #promise(id: Uint8Array, content: string | undefined): void {
    this.promised.push({ id, content: content === undefined ? undefined : Buffer.from(content, "hex") });
  }

  #read({ seq, id, content }: Extract<Told, { kind: "read" }>): void {
    const promised = this.promised[seq];
    if (promised === undefined)
      throw new Violation(`seq ${seq} was given out, the head is ${this.promised.length - 1}`);
    const text = toHex(id);
    const before = this.#givenOut.get(seq);
    if (before !== undefined && before !== text) throw new Violation(`two records were given out at seq ${seq}`);
    this.#givenOut.set(seq, text);
    if (!equalBytes(id, promised.id)) throw new Violation(`seq ${seq} has changed`);
    if (promised.content === undefined && !this.#offers(seq).includes(toHex(content)))
      throw new Violation(`seq ${seq} was never offered`);
    if (promised.content !== undefined && !equalBytes(content, promised.content))
      throw new Violation(`seq ${seq} holds another body`);
    promised.content = content;
  }

  #offers(seq: number): string[] {
    let offers = this.#offered.get(seq);
    if (offers === undefined) {
      offers = [];
      this.#offered.set(seq, offers);
    }
    return offers;
  }
}
