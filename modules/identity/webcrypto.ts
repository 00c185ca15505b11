import { fromHex } from "../bytes/bytes.js";
import type { AsyncEd25519Engine } from "./crypto.js";
import { verifySignatureLater } from "./ed25519.js";
import { tweetnaclEngine } from "./tweetnacl.js";

/**
 * Ed25519 by WebCrypto (W3C Web Cryptography Level 2, Ed25519), for browsers. What equation an implementation checks is its
 * own: some check the cofactored one, and would accept what the rule refuses. So each is asked for its verdict on signatures
 * that tell, and only one that gives the rule's is used.
 */

/** The part of `crypto.subtle` that is used. */
export interface SubtleEd25519 {
  importKey(
    format: "raw",
    key: Uint8Array<ArrayBuffer>,
    algorithm: "Ed25519",
    extractable: false,
    usages: ["verify"],
  ): Promise<unknown>;
  verify(
    algorithm: "Ed25519",
    key: never,
    signature: Uint8Array<ArrayBuffer>,
    message: Uint8Array<ArrayBuffer>,
  ): Promise<boolean>;
}

/** A signature whose verdict tells implementations apart. The tests check by the curve's equation what each is. */
export interface TellingSignature {
  readonly publicKey: string;
  readonly message: string;
  readonly signature: string;
  readonly accepted: boolean;
}

export const TELLING_SIGNATURES: readonly TellingSignature[] = [
  // One that a signer made.
  {
    publicKey: "8453dc67752ee82b16602c5fc19b48b0dea26662594284a86c9dec168def8dd1",
    message: "de4be1",
    signature:
      "b722e43a3f19dedb1ecaa72ef4a2ff03c6bf0bc00ff6e6522325844baa238a352d863c2f1db7b6fe0b85c527e7279c98ceebd4752b34e8aa4b71653bf4bd5e06",
    accepted: true,
  },
  // A part of order 8 in R: the cofactored equation holds, and not the rule's.
  {
    publicKey: "ab2c8537d08c9f653d99cda345322c1822e86670fbe6a3f30db4e35e0858cdf3",
    message: "de4be1",
    signature:
      "81ddd7daadc5b8d2d1f31668f9110542d6e87e426204f3424db68872a6ec365b7239ccfc77978b2c9d7a211a12f9b8eeba60ec4caabb8af94722074a7b709807",
    accepted: false,
  },
  // The same in the key.
  {
    publicKey: "d2c35f06b7779bfc07d97de59a9b241d079dcf51351bffa3a644c45484910fff",
    message: "de4be1",
    signature:
      "a0585a0981d05bb64bc3e13cea500e36cc56a509f90a50b8323f4ceb29267ed3416831282654c449da087a7f8e30785b2e5a7b7e8e49d15cc9b4ae3e42ca0c03",
    accepted: false,
  },
  // Parts in both that cancel: the rule's equation holds.
  {
    publicKey: "ed26ca34994dedb08570ad2c50761e7050f3b74d0d801109f8a42310179403d7",
    message: "de4be1",
    signature:
      "f5a47a1cc9defa4de8a1b11b55a55bb619cffe6f59d33471b4ab02c303ba9e32da936a93d547a7e0da6aad230a0e1adf4c38135a1c991e0313aa85b7dc28eb03",
    accepted: true,
  },
];

/** What a browser verifies with: its own implementation where that gives the rule's verdicts, else the portable one. */
export async function browserEngine(subtle: SubtleEd25519 | undefined): Promise<AsyncEd25519Engine> {
  if (subtle === undefined) return tweetnaclEngine;
  const engine = webCryptoEngine(subtle);
  for (const { publicKey, message, signature, accepted } of TELLING_SIGNATURES) {
    const verdict = verifySignatureLater(engine, fromHex(signature)!, fromHex(message)!, fromHex(publicKey)!);
    // Where it does not know Ed25519 it says so by throwing.
    if ((await verdict.catch(() => undefined)) !== accepted) return tweetnaclEngine;
  }
  return engine;
}

/** WebCrypto as it is. */
export function webCryptoEngine(subtle: SubtleEd25519): AsyncEd25519Engine {
  return {
    name: "WebCrypto",
    async equation(signature, message, publicKey) {
      let key: unknown;
      try {
        key = await subtle.importKey("raw", publicKey.slice(), "Ed25519", false, ["verify"]);
      } catch (error) {
        // Bytes that are no point; anything else is no answer.
        if ((error as { readonly name?: unknown }).name === "DataError") return false;
        throw error;
      }
      return subtle.verify("Ed25519", key as never, signature.slice(), message.slice());
    },
  };
}
