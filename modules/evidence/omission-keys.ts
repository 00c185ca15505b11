import { equalBytes, toHex } from "../bytes/bytes.js";
import { type Failure, fail, type Result } from "../codes/codes.js";
import type { Crypto } from "../identity/crypto.js";
import { kidOf } from "../identity/key.js";
import { SignatureType, type VerifierKey, verifierKey } from "../log/note.js";
import { type Opening, readOpening } from "../log/opening.js";
import { leafHash } from "../merkle/merkle.js";
import { followRelayKey } from "../sync/relay-key.js";
import type { RelayPins } from "../sync/relay-pins.js";
import type { Policy } from "./policy.js";

/** Most statements of changed keys that are followed, as many as an evidence file may hold. */
export const OMISSION_RELAY_KEYS_MAX = 256;

export interface LineageOptions {
  readonly policy: Policy;
  readonly opening?: Uint8Array;
  readonly relayKeys?: readonly Uint8Array[];
  readonly relayKey?: Uint8Array;
}

/** Who signs acknowledgements for a log, and why that is believed. */
export interface AcknowledgementSigner {
  /** 32 bytes; undefined where nothing shows it. */
  readonly key?: Uint8Array;
  readonly finding: string;
  readonly failure?: Failure;
}

/**
 * The keys by which a log's relay speaks to devices: the one that its opening names, and those that statements lead to from
 * there, by the rule of a device (sync/relay-key.ts). The opening counts where it is leaf 0 of a tree that the policy's log
 * key has signed; until that is known, what is here is a claim.
 */
export class RelayLineage {
  /** The keys that the log has had by the same statements, the opening's first. */
  readonly logKeys: readonly VerifierKey[];
  readonly #crypto: Crypto;
  readonly #options: LineageOptions;
  readonly #opening: Result<Opening> | undefined;
  readonly #deviceKeys: readonly Uint8Array[];

  constructor(crypto: Crypto, options: LineageOptions) {
    const { policy, opening, relayKeys = [] } = options;
    if (relayKeys.length > OMISSION_RELAY_KEYS_MAX)
      throw new RangeError(`relayKeys: expected at most ${OMISSION_RELAY_KEYS_MAX}, received ${relayKeys.length}`);
    this.#crypto = crypto;
    this.#options = options;
    this.#opening = opening && openingOf(crypto, opening, policy.log);
    const pins = policy.log && this.#opening?.ok ? pinsOf(crypto, this.#opening.value) : undefined;
    const reached = pins ? [pins] : [];
    for (const statement of pins ? relayKeys : []) {
      // What leads nowhere from here may be of a branch that the relay's recovery key has left.
      const next = followRelayKey(crypto, reached[reached.length - 1]!, statement);
      if (next.ok) reached.push(next.value);
    }
    this.#deviceKeys = reached.map(({ deviceKey }) => deviceKey);
    this.logKeys = reached.map(({ logKey }) => logKey);
  }

  /** The key of `kid`. `isSigned`: leaf 0 with the hash `first` begins a tree that the policy's log key has signed. */
  signer(kid: Uint8Array, first: Uint8Array | undefined, isSigned: boolean): AcknowledgementSigner {
    const { sha256 } = this.#crypto;
    const { relayKey, opening } = this.#options;
    const named = (key: Uint8Array) => equalBytes(kidOf(sha256, key), kid);
    if (relayKey && named(relayKey)) return { key: relayKey, finding: "the verifier knows it" };
    if (!opening || !this.#opening)
      return { finding: `nothing names the key of kid ${toHex(kid)}: the log's opening, its leaf 0, is not here` };
    if (!this.#opening.ok) return { finding: "the opening is not this log's", failure: this.#opening.failure };
    const at = this.#deviceKeys.findIndex(named);
    if (at < 0)
      return {
        finding: `opening and ${this.#deviceKeys.length} keys from it name none of kid ${toHex(kid)}: statements of changed keys may be missing`,
      };
    if (!isSigned || !first || !equalBytes(leafHash(sha256, opening), first))
      return { finding: "the opening is not shown to be leaf 0 of a tree that the policy's log key signed" };
    const how = at === 0 ? "leaf 0, the log's opening, names it" : `${at} changes of keys lead to it from leaf 0`;
    return { key: this.#deviceKeys[at]!, finding: how };
  }
}

function openingOf(crypto: Crypto, bytes: Uint8Array, log: VerifierKey | undefined): Result<Opening> {
  const opening = readOpening(crypto, bytes);
  if (!opening.ok || !log || opening.value.origin === log.name) return opening;
  return fail("STATEMENT_MALFORMED", `expected the opening of ${log.name}, received that of ${opening.value.origin}`);
}

/** Undefined where the log names no device-facing key. The origin is that of a key of the policy. */
function pinsOf({ sha256 }: Crypto, opening: Opening): RelayPins | undefined {
  const { origin, relayKey, recoveryKey } = opening;
  if (!relayKey) return undefined;
  const logKey = verifierKey(sha256, origin, SignatureType.ed25519, opening.logKey);
  return { origin, deviceKey: relayKey, logKey, generation: 0, ...(recoveryKey && { recoveryKey }) };
}
