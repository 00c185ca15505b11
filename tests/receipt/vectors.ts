/** Writes tests/vectors/receipt.json: `node --import tsx tests/receipt/vectors.ts`. */
import { writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { kidOf } from "tallystick/identity/key";
import { encodeConsistencyReceipt, encodeInclusionReceipt, receiptToBeSigned } from "tallystick/receipt/receipt";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeRecords } from "../log/records.js";
import { naiveConsistency, naiveInclusion, naiveRoot } from "../merkle/naive.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

export function receiptVectors() {
  const { sha256, ed25519 } = relayCrypto;
  const seed = new Uint8Array(32).fill(0x5e);
  const publicKey = ed25519.publicKey(seed);
  const kid = kidOf(sha256, publicKey);
  const records = makeRecords(8, 0x5d);
  const leaves = records.map((record) => recordId(sha256, record));
  const rootAt = (size: number) => naiveRoot(leaves.slice(0, size));
  const signed = (size: number) => ed25519.sign(receiptToBeSigned(kid, rootAt(size)), seed, publicKey);
  const inclusion = [
    [0, 2],
    [1, 2],
    [6, 7],
    [3, 8],
  ].map(([index, size]) => {
    const path = naiveInclusion(index!, leaves.slice(0, size));
    const receipt = encodeInclusionReceipt({ size: size!, index: index!, path, kid, signature: signed(size!) });
    return {
      record: hex(records[index!]!),
      size: size!,
      index: index!,
      root: hex(rootAt(size!)),
      receipt: hex(receipt),
    };
  });
  const consistency = [
    [1, 2],
    [3, 7],
    [4, 8],
  ].map(([oldSize, size]) => {
    const path = naiveConsistency(oldSize!, leaves.slice(0, size));
    const receipt = encodeConsistencyReceipt({ oldSize: oldSize!, size: size!, path, kid, signature: signed(size!) });
    return {
      oldSize: oldSize!,
      oldRoot: hex(rootAt(oldSize!)),
      size: size!,
      root: hex(rootAt(size!)),
      receipt: hex(receipt),
    };
  });
  const { record, receipt } = inclusion[3]!;
  const refused = [
    { why: "another record", record: inclusion[0]!.record, receipt, code: "SIGNATURE_INVALID" },
    { why: "a flipped bit of the signature", record, receipt: flipLast(receipt), code: "SIGNATURE_INVALID" },
    { why: "a byte after the end", record, receipt: `${receipt}00`, code: "CBOR_INVALID" },
    { why: "no tag", record, receipt: receipt.slice(2), code: "RECEIPT_MALFORMED" },
  ];
  return {
    about: "COSE Receipts (RFC 9942) over RFC9162_SHA256; all bytes in hexadecimal; made by tests/receipt/vectors.ts",
    publicKey: hex(publicKey),
    inclusion,
    consistency,
    refused,
  };
}

function flipLast(text: string): string {
  const bytes = Buffer.from(text, "hex");
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString("hex");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const file = new URL("../vectors/receipt.json", import.meta.url);
  writeFileSync(fileURLToPath(file), `${JSON.stringify(receiptVectors(), null, 1)}\n`);
}
