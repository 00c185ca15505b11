import { toHex } from "tallystick/bytes/bytes";
import { FORK_PROOF_MAX_BYTES } from "tallystick/chain/fork";
import { readRevocation } from "tallystick/chain/revocation";
import { explain } from "tallystick/codes/codes";
import { momentText } from "tallystick/evidence/omission";
import { isAcceptablePublicKey } from "tallystick/identity/ed25519";
import { didKey, fingerprint, kidOf } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { parseCheckpoint } from "tallystick/log/checkpoint";
import { parseNote } from "tallystick/log/note";
import { readRelayKey } from "tallystick/log/relay-key";
import { type Cbor, decodeCbor } from "tallystick/record/cbor";
import { readMakerStatement } from "tallystick/record/maker";
import { parseRecord } from "tallystick/record/record";
import { type Acknowledgement, readAcknowledgement } from "tallystick/sync/messages";
import { makerLines } from "../maker/lines.js";
import { recordLines } from "./record.js";

/** Statements, one field a line. Who signed one, its kid alone does not prove. */

/** A statement of a kind that is known here; undefined where it is none. Its typ says which. */
export function statementLinesOf(bytes: Uint8Array): string[] | undefined {
  const maker = readMakerStatement(bytes);
  if (maker.ok) return ["maker's statement", ...makerLines(maker.value)];
  const acknowledgement = readAcknowledgement(bytes);
  if (acknowledgement.ok)
    return acknowledgementLines(acknowledgement.value.statement.kid, acknowledgement.value.acknowledgement);
  if (readRevocation(bytes).ok) return revocationLines(bytes);
  return readRelayKey(bytes).ok ? relayKeyLines(bytes) : undefined;
}

/** How far a relay says that it is with a device, and what it promises. */
function acknowledgementLines(signer: Uint8Array, acknowledgement: Acknowledgement): string[] {
  const { kid, nonce, logByS, erasedSeq, timeMs, checkpoint, consistency, pinnedSize } = acknowledgement;
  const levels = (["received", "logged", "final"] as const).flatMap((level) => {
    const at = acknowledgement[level];
    return at ? [`  ${level.padEnd(8)} seq ${at.seq}  ${toHex(at.id)}`] : [];
  });
  const note = parseNote(checkpoint);
  const tree = note.ok ? parseCheckpoint(note.value.text) : note;
  return [
    `acknowledgement of device ${toHex(kid)}`,
    `  signed in the name of ${toHex(signer)}`,
    ...levels,
    ...(logByS === undefined ? [] : [`  log_by   ${momentText(logByS)}`]),
    ...(erasedSeq === undefined ? [] : [`  erased   seq ${erasedSeq}, the lowest above the head that was asked from`]),
    `  time     ${momentText(timeMs / 1000)}`,
    `  nonce    ${toHex(nonce)}`,
    tree.ok
      ? `  checkpoint of ${tree.value.origin}: size ${tree.value.size}, root ${toHex(tree.value.root)}`
      : `  checkpoint: ${explain(tree.failure)}`,
    `  consistency path of ${consistency.length} from size ${pinnedSize}`,
  ];
}

/** The proof of a fork: a key, and two records by it. Undefined where it is none. */
export function forkLines(bytes: Uint8Array): string[] | undefined {
  const decoded = bytes.length <= FORK_PROOF_MAX_BYTES ? decodeCbor(bytes, { depth: 1 }) : undefined;
  const [version, key, ...pair] = decoded?.ok && Array.isArray(decoded.value) ? (decoded.value as readonly Cbor[]) : [];
  if (version !== 1 || !(key instanceof Uint8Array) || !isAcceptablePublicKey(key) || pair.length !== 2)
    return undefined;
  const records = pair.flatMap((each) => {
    const record = each instanceof Uint8Array ? parseRecord(each) : undefined;
    return record?.ok ? [record.value] : [];
  });
  if (records.length !== 2) return undefined;
  const { sha256 } = portableCrypto;
  return [
    `proof of a fork of ${toHex(kidOf(sha256, key))}`,
    `key ${didKey(key)}`,
    `  print ${fingerprint(sha256, key)}, to compare by eye`,
    ...records.flatMap((record) => ["", ...recordLines(record)]),
  ];
}

/** A device's key, and from where on its word does not count. */
export function revocationLines(bytes: Uint8Array): string[] {
  const read = readRevocation(bytes);
  if (!read.ok) return [`revocation: ${explain(read.failure)}`];
  const { revocation, statement } = read.value;
  const { kid, fromSeq, timeS, reason } = revocation;
  return [
    `revocation of ${toHex(kid)} from seq ${fromSeq} on`,
    `  signed in the name of ${toHex(statement.kid)}`,
    `  said at ${momentText(timeS)}`,
    ...(reason === undefined ? [] : [`  reason ${JSON.stringify(reason)}`]),
  ];
}

/** How a relay's keys have changed. */
export function relayKeyLines(bytes: Uint8Array): string[] {
  const read = readRelayKey(bytes);
  if (!read.ok) return [`change of the relay's keys: ${explain(read.failure)}`];
  const { relayKey, statement } = read.value;
  const { generation, origin, deviceKey, logKey, tree } = relayKey;
  return [
    `change of the relay's keys, generation ${generation} of ${origin}`,
    `  signed in the name of ${toHex(statement.kid)}${tree ? ", a recovery key" : ""}`,
    `  device-facing key ${didKey(deviceKey)}`,
    `  log key ${logKey}`,
  ];
}
