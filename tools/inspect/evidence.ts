import { toHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import type { Bundle } from "tallystick/evidence/bundle";
import { anchorBlock, readEvmAnchor } from "tallystick/evidence/evm";
import { parseInclusionReceipt } from "tallystick/receipt/receipt";
import { parseRecord } from "tallystick/record/record";
import { backdatedLines, recordLines } from "./record.js";
import { relayKeyLines, revocationLines } from "./statement.js";

/** An evidence file's fields. */
export function inspectEvidence(bundle: Bundle): string[] {
  return [
    `evidence of the log ${bundle.origin}`,
    "",
    ...bundle.entries.flatMap(({ record, receipt, next }) => {
      const parsed = parseRecord(record);
      return [
        ...(parsed.ok ? recordLines(parsed.value) : [explain(parsed.failure)]),
        ...receiptLines(receipt),
        next ? `next record ${toHex(next)}` : "no next record was held",
        "",
      ];
    }),
    ...datesOf(bundle),
    "checkpoint",
    ...bundle.checkpoint
      .trimEnd()
      .split("\n")
      .map((line) => `  ${line}`),
    "",
    ...bundle.anchors.flatMap(({ anchor, consistency }) => anchorLines(anchor, consistency.length)),
    `claimed log key ${bundle.claims.logKey}`,
    ...bundle.claims.witnessKeys.map((key) => `claimed witness key ${key}`),
    ...(bundle.revocations ?? []).flatMap(revocationLines),
    ...(bundle.relayKeys ?? []).flatMap(relayKeyLines),
  ];
}

function datesOf({ entries }: Bundle): string[] {
  const records = entries.flatMap(({ record }) => {
    const parsed = parseRecord(record);
    return parsed.ok ? [parsed.value] : [];
  });
  const lines = backdatedLines(records);
  return lines.length > 0 ? [...lines, ""] : [];
}

function receiptLines(bytes: Uint8Array): string[] {
  const receipt = parseInclusionReceipt(bytes);
  if (!receipt.ok) return [`receipt: ${explain(receipt.failure)}`];
  const { size, index, path, kid, signature } = receipt.value;
  return [
    `receipt: index ${index} of ${size}, signed by ${toHex(kid)}`,
    ...path.map((hash) => `  path ${toHex(hash)}`),
    `  signature ${toHex(signature)}`,
  ];
}

function anchorLines(map: Parameters<typeof readEvmAnchor>[0], pathLength: number): string[] {
  const anchor = readEvmAnchor(map);
  if (!anchor.ok) return [`anchor: ${explain(anchor.failure)}`, ""];
  const { chainId, contract, size, root, headers, accountProof, sizeProof, rootProof } = anchor.value;
  const block = anchorBlock(anchor.value);
  return [
    `anchor: chain ${chainId}, contract 0x${toHex(contract)}`,
    `  size ${size}, root ${toHex(root)}, consistency path of ${pathLength}`,
    `  ${headers.length} block headers, ${accountProof.length + sizeProof.length + rootProof.length} trie nodes`,
    block.ok ? `  block to trust: ${block.value.number} 0x${toHex(block.value.hash)}` : `  ${explain(block.failure)}`,
    "",
  ];
}
