import { toHex } from "tallystick/bytes/bytes";
import { CODES, explain, type Failure } from "tallystick/codes/codes";
import { didKey } from "tallystick/identity/key";
import { readInput } from "../file.js";
import { INPUT_MAX_BYTES, spelledOut } from "../inspect/inspect.js";
import { hex } from "../inspect/walk.js";
import { type Damage, type Examination, examine, type Place, unreadable } from "./examine.js";
import type { KnownKey } from "./keys.js";
import type { Step } from "./steps.js";

/** Exit status of `tallystick fsck`, for scripts. */
export const FSCK_EXIT = { clean: 0, damaged: 1, recovers: 1, unreadable: 2, unverified: 3 } as const;

const VERDICTS = {
  clean: "clean: the next start has nothing to do",
  recovers: "not clean: the next start would write",
  damaged: "damaged",
  unverified: "nothing to do, but not every signature could be verified",
} as const;
type Verdict = keyof typeof VERDICTS;

/** Examines, prints the report, and answers with the exit status. The file is only read. */
export function fsck(file: string, keys: readonly KnownKey[], asJson: boolean): number {
  const input = readInput(file, INPUT_MAX_BYTES);
  if (!input.ok) return refuse(file, input.failure, asJson);
  const examined = examine(spelledOut(input.value), keys);
  if (!examined.ok) return refuse(file, unreadable(examined.failure), asJson);
  const verdict = verdictOf(examined.value);
  console.log(
    asJson
      ? JSON.stringify({ file, verdict, ...toJson(examined.value) }, null, 2)
      : [...toText(examined.value), "", `verdict: ${VERDICTS[verdict]}`].join("\n"),
  );
  return FSCK_EXIT[verdict];
}

function refuse(file: string, failure: Failure, asJson: boolean): number {
  if (asJson) console.log(JSON.stringify({ file, verdict: "unreadable", failure }, null, 2));
  else console.error(`tallystick fsck: ${file}: ${explain(failure)}`);
  return FSCK_EXIT.unreadable;
}

function verdictOf({ damage, steps, tail, unknownKids, presumed }: Examination): Verdict {
  if (damage.length > 0) return "damaged";
  if (steps.length > 0 || tail === "undecided") return "recovers";
  return unknownKids.length + presumed.length > 0 ? "unverified" : "clean";
}

function toText(examination: Examination): string[] {
  const { geometry, head, damage, notes, ifUnsigned } = examination;
  const { sectors, sectorBytes, unitBytes } = geometry;
  return [
    `journal of ${sectors} sectors of ${sectorBytes} bytes, ${unitBytes === 1 ? "plain NOR" : `write units of ${unitBytes} bytes`}`,
    ...keyLines(examination),
    "",
    "recovery, at the next start:",
    ...recoveryLines(examination),
    ...(ifUnsigned
      ? [
          "  if the newest signature is not genuine:",
          ...indent(sentences(ifUnsigned.steps, { ...examination, ...ifUnsigned })),
        ]
      : []),
    ...(unitBytes > 1 && examination.steps.length > 0 ? [`  ${ENCRYPTED_NOTE}`] : []),
    "",
    "then:",
    ...(head
      ? [
          `  head         seq ${head.seq} ${head.kind}, ${head.id ? `id ${toHex(head.id)}` : "its id is known when the device has signed it"}`,
        ]
      : [
          `  head         none: ${examination.tail === "damaged" ? "the newest record cannot be told" : "no record was ever committed"}`,
        ]),
    ...(head ? [`  first held   seq ${examination.firstSeq}`] : []),
    `  released     ${releasedText(examination)}`,
    `  usage        ${usageText(examination)}`,
    `  records      ${examination.readBack} read back, ${examination.verified} signatures verify`,
    ...(damage.length > 0 ? ["", "damaged:", ...damage.map((one) => `  ${damageText(one)}`)] : []),
    ...(notes.length > 0 ? ["", ...notes.map((note) => `note: ${note}`)] : []),
  ];
}

const ENCRYPTED_NOTE =
  "no dump of an encrypted partition tells which units a cut has touched: where these were, the device goes on in the next sector instead";

function keyLines({ keys, unknownKids }: Examination): string[] {
  return [
    ...keys.map(({ publicKey, source }) => `key ${didKey(publicKey)}, from ${source}`),
    ...unknownKids.map(
      (kid) =>
        `no key is known for kid ${toHex(kid)}: its genesis record is not in the image, and --key does not name it. No signature of it is verified here: recovery is shown as if all were genuine, and a record that was changed together with its CRC is not noticed`,
    ),
  ];
}

function recoveryLines(examination: Examination): string[] {
  const { steps, tail } = examination;
  if (tail === "undecided")
    return [
      `  would not decide about seq ${nextSeq(examination)}: there is no room; nothing is appended until older records are released`,
      ...sentences(steps, examination),
    ];
  return steps.length > 0 ? sentences(steps, examination) : ["  nothing to do"];
}

function sentences(steps: readonly Step[], examination: Examination): string[] {
  return steps.map((step) => `  ${sentence(step, examination)}`);
}

function sentence(step: Step, examination: Examination): string {
  const { newest, open, tail } = examination;
  switch (step.kind) {
    case "open":
      return newest?.ordinal === step.ordinal
        ? `would erase sector ${step.sector} and open it again: ${ofNewest(examination)}`
        : `would erase sector ${step.sector} and open it as ordinal ${step.ordinal}: ${whyNext(examination)}`;
    case "carry": {
      const opening =
        newest?.ordinal === step.ordinal
          ? `would erase sector ${step.sector} (${ofNewest(examination)}) and open it again with seq ${step.seq} in it`
          : `would erase sector ${step.sector} and open it as ordinal ${step.ordinal} with seq ${step.seq} in it`;
      return isRecovered(step.seq, examination)
        ? `${opening}: ${wholeBody(examination)}. The position frame comes behind its body, then its signature`
        : `${opening}: the newest record stays in the two newest sectors`;
    }
    case "spend":
      return `would write zeros over the slot at ${placeText(step)}: a start that was cut may have begun to write there`;
    case "void": {
      const frames = step.frames === 1 ? "a void frame" : `${step.frames === 2 ? "two" : step.frames} void frames`;
      const torn = `the body of seq ${nextSeq(examination)}${open && !open.whole ? ` at ${placeText(open)}` : ""} is torn`;
      const reason =
        tail === "voided"
          ? torn
          : "nothing right behind what the sector ends with proves that it was written to the end";
      return `would write ${frames} at ${placeText(step)}: ${reason}`;
    }
    case "record":
      return `would give seq ${step.seq} fresh cells at ${placeText(step)}: ${wholeBody(examination)}`;
    case "position":
      return `would write the released position at ${placeText(step)}`;
    case "other":
      return `would write at ${placeText(step)}`;
  }
}

/** Why the newest sector may be erased. */
function ofNewest({ newest }: Examination): string {
  if (!newest!.opened) return "its opening was cut";
  return `it holds nothing${newest!.holds && ` but ${newest!.holds}`}`;
}

/** Why what is to be written does not go into the newest sector. */
function whyNext({ newest }: Examination): string {
  if (newest === undefined) return "no sector was opened yet";
  return newest.closed
    ? `bits behind the last frame of sector ${newest.sector} are programmed, and nothing is appended there any more`
    : `two void frames, one right behind the other, do not fit into sector ${newest.sector}`;
}

function isRecovered(seq: number, { tail, head }: Examination): boolean {
  return tail === "signed" && head?.seq === seq;
}

function wholeBody({ open }: Examination): string {
  return `its body${open?.whole ? ` at ${placeText(open)}` : ""} is whole, and no signature there verifies`;
}

/** The position that a record which the journal does not take has. */
function nextSeq({ head }: Examination): number {
  return head ? head.seq + 1 : 0;
}

function placeText({ sector, offset }: Place): string {
  return `sector ${sector}, byte ${hex(offset)}`;
}

function releasedText({ released, chain }: Examination): string {
  // An acknowledgement is written down when the next sector is opened: the device may know of a later one.
  if (released.count === 0) return "nothing, by what the flash holds";
  const newest = `up to seq ${released.count - 1}`;
  return released.chain === chain ? newest : `${newest} of an earlier chain, from sector ordinal ${released.chain}`;
}

function usageText({ usage: { used, sectors, level } }: Examination): string {
  return `${used} of ${sectors} sectors, ${Math.max(0, sectors - used)} free: ${level}`;
}

function damageText({ seq, sector, code, detail }: Damage): string {
  const what = seq !== undefined ? `seq ${seq}: ` : sector !== undefined ? `sector ${sector}: ` : "";
  if (code === undefined) return `${what}${detail}`;
  return `${what}${code}: ${CODES[code].means} (${detail}); ${CODES[code].todo}`;
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function toJson(examination: Examination) {
  const { geometry, keys, unknownKids, tail, ifUnsigned, head } = examination;
  const told = ({ steps, tail }: Pick<Examination, "steps" | "tail">) =>
    steps.map((step) => ({ ...step, text: sentence(step, { ...examination, tail }) }));
  return {
    sectors: geometry.sectors,
    sector_bytes: geometry.sectorBytes,
    write_unit_bytes: geometry.unitBytes,
    keys: keys.map(({ kid, publicKey, source }) => ({ kid: toHex(kid), did: didKey(publicKey), source })),
    unknown_kids: unknownKids.map(toHex),
    tail,
    recovery: told(examination),
    ...(ifUnsigned && { recovery_if_unsigned: told(ifUnsigned) }),
    head: head ? { seq: head.seq, kind: head.kind, id: head.id ? toHex(head.id) : null } : null,
    first_seq: head ? examination.firstSeq : null,
    released_count: examination.released.count,
    released_chain: examination.released.chain,
    usage: examination.usage,
    records_read: examination.readBack,
    signatures_verified: examination.verified,
    signatures_presumed: examination.presumed,
    damage: examination.damage,
    notes: examination.notes,
  };
}
