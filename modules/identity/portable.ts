import { sha256 } from "@noble/hashes/sha2.js";
import type { Crypto } from "./crypto.js";
import { tweetnaclEngine } from "./tweetnacl.js";

/** Cryptography in JavaScript alone: the same bytes as native code, some thousand times slower on a board. */
export const portableCrypto: Crypto = { sha256: (bytes) => sha256(bytes), ed25519: tweetnaclEngine };
