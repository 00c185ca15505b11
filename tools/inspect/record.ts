import { toHex } from "tallystick/bytes/bytes";
import { explain } from "tallystick/codes/codes";
import { byChain, dateOf, OwnWord } from "tallystick/evidence/dating";
import { didKey, fingerprint } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import { type Cbor, CborReader, decodeCbor, Tagged } from "tallystick/record/cbor";
import { readMakerStatement } from "tallystick/record/maker";
import { readAlert, readGenesis } from "tallystick/record/payload";
import { KIND_WORDS, Kind, parseRecord, type Record, recordId } from "tallystick/record/record";
import { readPack } from "tallystick/record/senml";
import { makerLines } from "../maker/lines.js";
import { alertText, measuredText, timeText } from "../reading.js";
import type { Inspection } from "./inspect.js";

const CLOCK_WORDS = ["unset", "retained", "network", "relay"];

/** One record, or a CBOR sequence of them. */
export function inspectRecords(bytes: Uint8Array): Inspection {
  const lines: string[] = [];
  const records: Record[] = [];
  const reader = new CborReader(bytes, { depth: 6 });
  while (!reader.atEnd) {
    const start = reader.offset;
    const item = reader.item();
    if (!item.ok) return { lines, failure: `at byte ${start}: ${explain(item.failure)}` };
    const record = parseRecord(bytes.subarray(start, reader.offset));
    if (!record.ok) return { lines, failure: `at byte ${start}: ${explain(record.failure)}` };
    lines.push(...recordLines(record.value, start), "");
    records.push(record.value);
  }
  return { lines: [...lines, ...backdatedLines(records)] };
}

/** Records that are dated before what a mark before them names (modules/evidence/SPEC.md, Dates), whatever signed either. */
export function backdatedLines(records: readonly Record[]): string[] {
  const lines: string[] = [];
  for (const [kid, chain] of byChain(records)) {
    const own = new OwnWord(chain);
    for (const record of chain) {
      const said = own.against(record);
      if (!said) continue;
      const [dated, named] = [dateOf(record)!, said.timeMs].map((ms) => new Date(ms).toISOString());
      lines.push(
        `backdated: seq ${record.header.seq} of ${kid} is dated ${dated}, its mark at seq ${said.seq} names ${named}`,
      );
    }
  }
  return lines;
}

/** A record's fields with the offset at which each stands. */
export function recordLines(record: Record, offset = 0): string[] {
  const { header, protectedBytes, payload, signature, bytes } = record;
  const at = (view: Uint8Array) => field(offset + view.byteOffset - bytes.byteOffset);
  return [
    `record ${toHex(recordId(portableCrypto.sha256, bytes))}`,
    `${field(offset)} COSE_Sign1, ${bytes.length} bytes`,
    `${at(protectedBytes)} protected header, ${protectedBytes.length} bytes`,
    `${BLANK}   kid      ${toHex(header.kid)}`,
    `${BLANK}   kind     ${header.kind} ${KIND_WORDS[header.kind]}`,
    `${BLANK}   boot     ${header.boot}`,
    `${BLANK}   seq      ${header.seq}`,
    `${BLANK}   prev     ${toHex(header.prev)}`,
    `${BLANK}   uptime   ${header.uptimeMs} ms`,
    `${BLANK}   clock    ${header.clock} ${CLOCK_WORDS[header.clock]}`,
    `${at(payload)} payload, ${payload.length} bytes`,
    ...payloadLines(record).map((line) => `${BLANK}   ${line}`),
    `${at(signature)} signature ${toHex(signature)}`,
  ];
}

const BLANK = " ".repeat(6);
const field = (offset: number) => offset.toString(16).padStart(6, "0");

function payloadLines({ header, payload }: Record): string[] {
  if (header.kind === Kind.readings) {
    const readings = readPack(payload, header.clock);
    if (!readings.ok) return [explain(readings.failure)];
    return readings.value.map(
      (reading) => `${timeText(reading.timeS, header.clock)}  ${reading.name}  ${measuredText(reading)}`,
    );
  }
  if (header.kind === Kind.alert) {
    const alert = readAlert(payload);
    if (!alert.ok) return [explain(alert.failure)];
    return [alertText(alert.value), ...alert.value.records.map((id) => `record   ${toHex(id)}`)];
  }
  const genesis = header.kind === Kind.genesis ? readGenesis(payload) : undefined;
  const decoded = decodeCbor(payload);
  const lines = genesis?.ok ? [...keyLines(genesis.value.publicKey), ...statementLines(genesis.value.statement)] : [];
  return [...lines, decoded.ok ? diagnostic(decoded.value) : explain(decoded.failure)];
}

function keyLines(publicKey: Uint8Array): string[] {
  const short = fingerprint(portableCrypto.sha256, publicKey);
  return [`did      ${didKey(publicKey)}`, `print    ${short}, to compare by eye`];
}

/** A maker's statement in genesis; of any other the bytes stand in the payload. */
function statementLines(bytes: Uint8Array | undefined): string[] {
  const statement = bytes && readMakerStatement(bytes);
  return statement?.ok ? ["statement of a maker:", ...makerLines(statement.value).map((line) => `  ${line}`)] : [];
}

/** CBOR diagnostic notation (RFC 8949 §8). */
export function diagnostic(value: Cbor): string {
  if (value instanceof Uint8Array) return `h'${toHex(value)}'`;
  if (value instanceof Tagged) return `${value.tag}(${diagnostic(value.value)})`;
  if (Array.isArray(value)) return `[${(value as readonly Cbor[]).map(diagnostic).join(", ")}]`;
  if (value instanceof Map) return `{${[...value].map(([k, v]) => `${diagnostic(k)}: ${diagnostic(v)}`).join(", ")}}`;
  return JSON.stringify(value);
}
