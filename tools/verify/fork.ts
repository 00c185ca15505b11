import { toHex } from "tallystick/bytes/bytes";
import { visibleLines } from "tallystick/bytes/visible";
import { checkForkProof, type ForkProof } from "tallystick/chain/fork";
import { explain } from "tallystick/codes/codes";
import { didKey, fingerprint, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { KIND_WORDS, type Record, recordId } from "tallystick/record/record";
import { VERIFY_EXIT } from "./exit.js";

/** The proof of a fork, as `tallystick verify` checks it: it needs nobody's word, and so no policy. */

/** An array of four: evidence is a map. */
const FIRST_BYTE = 0x84;

const NOT_PROVED = [
  "which of the two is the device's own branch: the key signed both",
  "whether a second device has the key, or one device's memory was set back",
  "whose device the key is: compare the key, or its print, with the device's label or genesis record",
];

export function isForkProof(bytes: Uint8Array): boolean {
  return bytes[0] === FIRST_BYTE;
}

/** Checks, prints the report, and answers with the exit status. */
export function verifyFork(file: string, bytes: Uint8Array, asJson: boolean): number {
  const proof = checkForkProof(portableCrypto, bytes);
  if (!proof.ok) {
    const isFalse = proof.failure.code === "FORK_UNPROVED";
    const verdict = isFalse ? "false" : "unreadable";
    if (asJson) console.log(JSON.stringify({ verdict, file, failure: proof.failure }, null, 2));
    else console.error(`tallystick verify: ${file}: ${explain(proof.failure)}`);
    return VERIFY_EXIT[verdict];
  }
  console.log(asJson ? JSON.stringify(toJson(proof.value), null, 2) : visibleLines(toText(proof.value).join("\n")));
  return VERIFY_EXIT.proved;
}

function toText({ publicKey, first, second }: ForkProof): string[] {
  return [
    `key ${didKey(publicKey)}`,
    `  print ${fingerprint(portableCrypto.sha256, publicKey)}, to compare by eye`,
    ...[first, second].map((record) => `record ${toHex(idOf(record))}\n  ${contentOf(record)}`),
    "",
    `proved  fork  the key has signed two records at seq ${first.header.seq}`,
    "",
    "not proved by any file of this kind:",
    ...NOT_PROVED.map((line) => `  ${line}`),
    "",
    "verdict: proved",
  ];
}

function contentOf({ header }: Record): string {
  return `${KIND_WORDS[header.kind]}, seq ${header.seq}, boot ${header.boot}, behind ${toHex(header.prev)}`;
}

function toJson({ publicKey, first, second }: ForkProof) {
  return {
    verdict: "proved",
    fork: {
      did: didKey(publicKey),
      kid: toHex(kidOf(portableCrypto.sha256, publicKey)),
      print: fingerprint(portableCrypto.sha256, publicKey),
      seq: first.header.seq,
      records: [first, second].map((record) => ({
        id: toHex(idOf(record)),
        kind: KIND_WORDS[record.header.kind],
        boot: record.header.boot,
        prev: toHex(record.header.prev),
      })),
    },
    notProved: NOT_PROVED,
  };
}

function idOf({ bytes }: Record): Uint8Array {
  return recordId(portableCrypto.sha256, bytes);
}
