import nacl from "tweetnacl";
import { concatBytes } from "../bytes/bytes.js";
import type { Ed25519Engine } from "./crypto.js";

/**
 * Ed25519 by tweetnacl: the portable engine, the fallback where no native one is and the oracle of the tests. Its verify
 * compares the bytes of R, which is the cofactorless equation; that it takes S above the order is the rule's to refuse.
 */
export const tweetnaclEngine: Ed25519Engine = {
  name: "tweetnacl",
  publicKey: (seed) => nacl.sign.keyPair.fromSeed(seed).publicKey,
  sign: (message, seed, publicKey) => nacl.sign.detached(message, concatBytes(seed, publicKey)),
  equation: (signature, message, publicKey) => nacl.sign.detached.verify(message, signature, publicKey),
};
