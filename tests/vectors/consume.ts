import { fromHex, toHex, utf8 } from "tallystick/bytes/bytes";
import { follow, type Head } from "tallystick/chain/chain";
import { checkRevocation, makeRevocation } from "tallystick/chain/revocation";
import { encodeBundle, readBundle } from "tallystick/evidence/bundle";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { readPolicy } from "tallystick/evidence/policy";
import type { Crypto } from "tallystick/identity/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
import { Identity } from "tallystick/identity/identity";
import { kidOf } from "tallystick/identity/key";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { formatVerifierKey, parseVerifierKey } from "tallystick/log/note";
import { makeRelayKey } from "tallystick/log/relay-key";
import { verifyInclusionReceipt } from "tallystick/receipt/receipt";
import { encodeGap, readGap } from "tallystick/record/gap";
import { type EarlierGap, GapBuilder } from "tallystick/record/gap-summary";
import { checkVouched, makeMakerStatement, readMakerStatement, verifyMakerStatement } from "tallystick/record/maker";
import { checkPayload, readGenesis, readRotate } from "tallystick/record/payload";
import { encodeBody, parseRecord, recordId, toBeSigned } from "tallystick/record/record";
import { statementIn } from "tallystick/sync/enrolment";
import { encodeEnrolment, leaveOf, readEnrolment, readPossession } from "tallystick/sync/messages";
import { followRelayKey } from "tallystick/sync/relay-key";
import { encodeRelayPins, readRelayPins } from "tallystick/sync/relay-pins";
import {
  encodeSuccessionRequest,
  readSuccession,
  readSuccessionRequest,
  stateSuccession,
} from "tallystick/sync/succession";
import { type AcknowledgementVectors, consumeAcknowledgements } from "./consume-acknowledgement.js";
import { type AlertVectors, consumeAlerts } from "./consume-alert.js";
import { consumeMqtt, type MqttVectors } from "./consume-mqtt.js";
import { consumeOmission, type OmissionVector } from "./consume-omission.js";
import { consumeWitness, type WitnessVector } from "./consume-witness.js";

/** Reads every vector with the modules and says what came out, a line a fact: the same lines on every engine. */
export interface VectorFiles {
  readonly record: {
    readonly publicKey: string;
    readonly seed: string;
    readonly kid: string;
    readonly records: readonly { readonly record: string; readonly id: string; readonly payload: string }[];
  };
  readonly log: {
    readonly logPublicKey: string;
    readonly vkey: string;
    readonly size: number;
    readonly root: string;
    readonly checkpoint: string;
    readonly receipts: readonly { readonly id: string; readonly index: number; readonly receipt: string }[];
  };
  readonly witness: WitnessVector;
  readonly acknowledgement: AcknowledgementVectors;
  readonly mqtt: MqttVectors;
  readonly succession: Readonly<
    Record<
      | "origin"
      | "formerSeed"
      | "formerPublicKey"
      | "formerKid"
      | "nextSeed"
      | "nextPublicKey"
      | "nextKid"
      | "id"
      | "nonce"
      | "genesis"
      | "statement"
      | "request",
      string
    >
  > & { readonly seq: number; readonly pinnedSize: number };
  readonly keys: Readonly<
    Record<"nextSeed" | "nextKid" | "nonce" | "genesis" | "request" | "reason" | "revocation", string>
  > & {
    readonly seq: number;
    readonly pinnedSize: number;
    readonly fromSeq: number;
    readonly timeS: number;
  };
  readonly maker: Readonly<
    Record<
      | "makerSeed"
      | "makerPublicKey"
      | "makerKid"
      | "devicePublicKey"
      | "chip"
      | "firmwareSha256"
      | "ownerPublicKey"
      | "text"
      | "statement"
      | "least"
      | "genesis"
      | "origin"
      | "nonce"
      | "challenge"
      | "enrolment",
      string
    >
  >;
  readonly relayKey: Readonly<Record<"origin" | "rotation" | "recovery", string>> & {
    readonly deviceSeeds: readonly string[];
    readonly recoverySeeds: readonly string[];
    readonly logKeys: readonly string[];
    readonly generations: readonly number[];
    readonly tree: { readonly size: number; readonly root: string };
    readonly pins: readonly string[];
  };
  readonly gap: { readonly first: string; readonly second: string };
  readonly alert: AlertVectors;
  readonly evidence: { readonly policy: object; readonly verdict: string; readonly evidence: string };
  readonly omission: OmissionVector;
}

export function consumeVectors(crypto: Crypto, files: VectorFiles): string[] {
  return [
    ...consumeRecords(crypto, files.record),
    ...consumeGaps(crypto, files.gap, files.record),
    ...consumeAlerts(files.alert),
    ...consumeReceipts(crypto, files.log),
    ...consumeWitness(crypto, files.witness),
    ...consumeOmission(crypto, files.omission),
    ...consumeAcknowledgements(crypto, files.acknowledgement, files.record),
    ...consumeSuccession(crypto, files.succession),
    ...consumeMqtt(files.mqtt),
    ...consumeKeys(crypto, files.keys, files.record),
    ...consumeMaker(crypto, files.maker),
    ...consumeRelayKeys(crypto, files.relayKey),
    ...consumeEvidence(crypto, files.evidence),
  ];
}

function consumeRecords(crypto: Crypto, vectors: VectorFiles["record"]): string[] {
  const lines: string[] = [];
  const publicKey = fromHex(vectors.publicKey)!;
  const seed = fromHex(vectors.seed)!;
  lines.push(`key ${toHex(crypto.ed25519.publicKey(seed)) === vectors.publicKey}`);
  lines.push(`kid ${toHex(kidOf(crypto.sha256, publicKey)) === vectors.kid}`);
  let head: Head | undefined;
  for (const vector of vectors.records) {
    const parsed = parseRecord(fromHex(vector.record)!);
    if (!parsed.ok) {
      lines.push(`record ${parsed.failure.code} ${parsed.failure.detail}`);
      continue;
    }
    const record = parsed.value;
    const rebuilt = toHex(encodeBody(record.header, record.payload)) === toHex(record.body);
    const signed = toHex(crypto.ed25519.sign(toBeSigned(record), seed, publicKey)) === toHex(record.signature);
    const verified = verifySignature(crypto.ed25519, record.signature, toBeSigned(record), publicKey);
    const named = toHex(recordId(crypto.sha256, record.bytes)) === vector.id;
    const content = checkPayload(record, (key) => kidOf(crypto.sha256, key)).ok;
    const next = follow(crypto.sha256, head, record);
    if (next.ok) head = next.value;
    lines.push(
      `record ${record.header.seq} kind ${record.header.kind} rebuilt ${rebuilt} signed ${signed} verified ${verified} named ${named} content ${content} follows ${next.ok}`,
    );
    // Every flipped bit of the head is refused with the same words everywhere.
    for (let bit = 0; bit < 64; bit++) {
      const changed = record.bytes.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const refused = parseRecord(changed);
      lines.push(refused.ok ? `bit ${bit} read` : `bit ${bit} ${refused.failure.code} ${refused.failure.detail}`);
    }
  }
  return lines;
}

function consumeGaps(crypto: Crypto, vectors: VectorFiles["gap"], { records }: VectorFiles["record"]): string[] {
  const lines: string[] = [];
  const ids = records.map(({ id }) => fromHex(id)!);
  let earlier: EarlierGap | undefined;
  for (const [payload, unread] of [
    [vectors.first, undefined],
    [vectors.second, 4],
  ] as const) {
    const gap = readGap(fromHex(payload)!);
    if (!gap.ok) return [...lines, `gap ${gap.failure.code} ${gap.failure.detail}`];
    const { last, takenOver } = gap.value;
    const builder = new GapBuilder(crypto.sha256, takenOver?.from ?? gap.value.first, earlier);
    for (let seq = builder.next; seq <= last; seq++) {
      const record = parseRecord(fromHex(records[seq]!.record)!);
      builder.add(ids[seq]!, record.ok && seq !== unread ? record.value : undefined);
    }
    const rebuilt = toHex(encodeGap(builder.build())) === payload;
    const sums = gap.value.summaries.map(({ name, mean, values }) => `${name} ${mean} of ${values}`);
    lines.push(`gap to ${last} read ${toHex(encodeGap(gap.value)) === payload} rebuilt ${rebuilt} ${sums.join(", ")}`);
    earlier = { seq: 5, id: ids[5]!, gap: gap.value };
  }
  for (let at = 0; at < vectors.first.length; at += 2) {
    const changed = fromHex(vectors.first)!;
    changed[at / 2]! ^= 1;
    const read = readGap(changed);
    lines.push(read.ok ? `bit ${at} read` : `bit ${at} ${read.failure.code} ${read.failure.detail}`);
  }
  return lines;
}

function consumeReceipts(crypto: Crypto, vectors: VectorFiles["log"]): string[] {
  const lines: string[] = [];
  const key = parseVerifierKey(crypto.sha256, vectors.vkey);
  if (!key.ok) return [`vkey ${key.failure.code}`];
  const checkpoint = openCheckpoint(crypto, utf8(vectors.checkpoint), key.value);
  lines.push(
    checkpoint.ok
      ? `checkpoint ${checkpoint.value.size === vectors.size} ${toHex(checkpoint.value.root) === vectors.root}`
      : `checkpoint ${checkpoint.failure.code}`,
  );
  for (const { id, index, receipt } of vectors.receipts) {
    const proved = verifyInclusionReceipt(crypto, fromHex(vectors.logPublicKey)!, fromHex(receipt)!, fromHex(id)!);
    lines.push(
      proved.ok
        ? `receipt ${index === proved.value.index} ${proved.value.size} ${toHex(proved.value.root) === vectors.root}`
        : `receipt ${proved.failure.code}`,
    );
  }
  return lines;
}

function consumeSuccession(crypto: Crypto, vector: VectorFiles["succession"]): string[] {
  const former = Identity.ofSeed(fromHex(vector.formerSeed)!, crypto);
  const next = Identity.ofSeed(fromHex(vector.nextSeed)!, crypto);
  const made = stateSuccession({ former, next, seq: vector.seq, id: fromHex(vector.id)! }, vector.origin);
  const lines = [
    `succession keys ${toHex(former.kid) === vector.formerKid} ${toHex(next.kid) === vector.nextKid}`,
    `succession made ${made.ok && toHex(made.value) === vector.statement}`,
  ];
  const bytes = fromHex(vector.request)!;
  const request = readSuccessionRequest(bytes);
  if (!request.ok) return [...lines, `succession ${request.failure.code} ${request.failure.detail}`];
  const sent = request.value;
  if (!("statement" in sent)) return [...lines, "succession without statement"];
  lines.push(
    `succession request ${toHex(encodeSuccessionRequest(sent)) === vector.request} ${toHex(sent.request.nonce) === vector.nonce} ${sent.request.pinnedSize === vector.pinnedSize}`,
  );
  const read = readSuccession(sent.statement);
  if (!read.ok) return [...lines, `succession ${read.failure.code} ${read.failure.detail}`];
  const { statement, succession } = read.value;
  const { head, origin, publicKey } = succession;
  const signed = (key: Uint8Array) => verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, key);
  lines.push(
    `succession read ${toHex(statement.kid) === vector.formerKid} ${origin === vector.origin} ${head.seq === vector.seq} ${toHex(head.id) === vector.id} ${toHex(publicKey) === vector.nextPublicKey}`,
    `succession signed ${signed(former.publicKey)}, by the next key ${signed(next.publicKey) ? "too" : "not"}`,
  );
  const genesis = parseRecord(sent.genesis);
  const content = genesis.ok ? readGenesis(genesis.value.payload) : genesis;
  if (!content.ok) return [...lines, `succession ${content.failure.code} ${content.failure.detail}`];
  const { predecessor } = content.value;
  lines.push(
    `succession genesis ${predecessor?.seq === head.seq && toHex(predecessor.kid) === vector.formerKid && toHex(predecessor.id) === vector.id}`,
  );
  // One kind of statement never passes for another, and no changed byte of one is read and still signed.
  const other = readPossession(sent.statement);
  lines.push(other.ok ? "succession taken for possession" : `succession as possession ${other.failure.code}`);
  for (let i = 0; i < sent.statement.length; i += 7) {
    const changed = sent.statement.slice();
    changed[i]! ^= 1;
    const again = readSuccession(changed);
    const { signature, signedBytes } = again.ok ? again.value.statement : statement;
    const holds = again.ok && verifySignature(crypto.ed25519, signature, signedBytes, former.publicKey);
    lines.push(`succession byte ${i} ${again.ok ? `holds ${holds ? "too" : "not"}` : again.failure.code}`);
  }
  return lines;
}

/** A rotation as the relay is asked to take it, and a revocation by the key that genesis pins as the relay's. */
function consumeKeys(crypto: Crypto, vector: VectorFiles["keys"], { kid, records }: VectorFiles["record"]): string[] {
  const next = Identity.ofSeed(fromHex(vector.nextSeed)!, crypto);
  const request = readSuccessionRequest(fromHex(vector.request)!);
  if (!request.ok || !("rotation" in request.value)) return ["rotation unreadable"];
  const rotation = parseRecord(request.value.rotation);
  const genesis = parseRecord(request.value.genesis);
  const content = genesis.ok ? readGenesis(genesis.value.payload) : genesis;
  const named = rotation.ok ? readRotate(rotation.value.payload) : rotation;
  if (!rotation.ok || !content.ok || !named.ok) return ["rotation malformed"];
  const { predecessor } = content.value;
  const id = toHex(recordId(crypto.sha256, rotation.value.bytes));
  const revocation = fromHex(vector.revocation)!;
  const { fromSeq, timeS, reason } = vector;
  const made = makeRevocation(next.kid, { kid: fromHex(kid)!, fromSeq, timeS, reason }, (bytes) => {
    const signed = next.sign(bytes);
    return signed.ok ? signed.value : new Uint8Array(64);
  });
  const first = parseRecord(fromHex(records[0]!.record)!);
  const pinned = first.ok ? readGenesis(first.value.payload) : first;
  const relayKey = pinned.ok ? pinned.value.relayKey : undefined;
  const by = (key: Uint8Array | undefined, bytes: Uint8Array) => {
    const checked = checkRevocation(crypto, bytes, fromHex(kid)!, key ? [key] : []);
    return checked.ok ? `from ${checked.value.fromSeq} for "${checked.value.reason}"` : checked.failure.code;
  };
  const lines = [
    `rotation request ${toHex(encodeSuccessionRequest(request.value)) === vector.request}`,
    `rotation names ${toHex(named.value) === toHex(next.publicKey)} ${toHex(next.kid) === vector.nextKid} ${id === records[vector.seq]!.id}`,
    `rotation genesis ${predecessor !== undefined && toHex(predecessor.id) === id && toHex(predecessor.kid) === kid}`,
    `revocation made ${toHex(made) === vector.revocation}`,
    `revocation by the pinned key ${by(relayKey, revocation)}, by nobody ${by(undefined, revocation)}`,
  ];
  for (let i = 0; i < revocation.length; i += 7) {
    const changed = revocation.slice();
    changed[i]! ^= 1;
    lines.push(`revocation byte ${i} ${by(relayKey, changed)}`);
  }
  return lines;
}

function consumeMaker(crypto: Crypto, vector: VectorFiles["maker"]): string[] {
  const maker = Identity.ofSeed(fromHex(vector.makerSeed)!, crypto);
  const sign = (bytes: Uint8Array) => {
    const signed = maker.sign(bytes);
    return signed.ok ? signed.value : new Uint8Array(64);
  };
  const device = { publicKey: fromHex(vector.devicePublicKey)!, firmwareSha256: fromHex(vector.firmwareSha256)! };
  const chip = fromHex(vector.chip)!;
  const full = { ...device, chip, ownerKey: fromHex(vector.ownerPublicKey)!, text: vector.text };
  const lines = [
    `maker key ${toHex(maker.publicKey) === vector.makerPublicKey} ${toHex(maker.kid) === vector.makerKid}`,
    `maker made ${toHex(makeMakerStatement(maker.kid, full, sign)) === vector.statement}`,
    `maker made least ${toHex(makeMakerStatement(maker.kid, { ...device, chip }, sign)) === vector.least}`,
  ];
  const bytes = fromHex(vector.statement)!;
  const read = readMakerStatement(bytes);
  if (!read.ok) return [...lines, `maker ${read.failure.code} ${read.failure.detail}`];
  const { vouched } = read.value;
  const stranger = crypto.ed25519.publicKey(new Uint8Array(32).fill(0x43));
  const outcome = (result: { ok: boolean; failure?: { code: string } }) => result.failure?.code ?? "holds";
  lines.push(
    `maker read ${toHex(vouched.chip) === vector.chip} ${vouched.text === vector.text} ${vouched.ownerKey !== undefined && toHex(vouched.ownerKey) === vector.ownerPublicKey}`,
    `maker ${outcome(verifyMakerStatement(crypto, read.value, [stranger, maker.publicKey]))}, of others ${outcome(verifyMakerStatement(crypto, read.value, [stranger]))}`,
    `maker for the device ${outcome(checkVouched(vouched, { ...device, chip }))}, for another key ${outcome(checkVouched(vouched, { ...device, publicKey: stranger }))}`,
    `maker for another firmware ${outcome(checkVouched(vouched, { ...device, firmwareSha256: new Uint8Array(32) }))}, for another chip ${outcome(checkVouched(vouched, { ...device, chip: new Uint8Array(6) }))}`,
  );
  const sent = readEnrolment(fromHex(vector.enrolment)!);
  if (!sent.ok) return [...lines, `maker ${sent.failure.code} ${sent.failure.detail}`];
  const carried = statementIn(sent.value.genesis);
  lines.push(
    `maker enrolment ${toHex(encodeEnrolment(sent.value)) === vector.enrolment} ${sent.value.token === undefined} ${toHex(sent.value.genesis) === vector.genesis} ${carried.ok && carried.value !== undefined && toHex(carried.value) === vector.statement}`,
  );
  const possession = readPossession(sent.value.possession);
  if (!possession.ok) return [...lines, `maker ${possession.failure.code} ${possession.failure.detail}`];
  const { statement } = possession.value;
  lines.push(
    `maker possession ${toHex(possession.value.possession.leaveSha256) === toHex(crypto.sha256(leaveOf(undefined, bytes)))} ${verifySignature(crypto.ed25519, statement.signature, statement.signedBytes, device.publicKey)}`,
  );
  // One kind of statement never passes for another, and no changed byte of one is read and still signed.
  lines.push(`maker as possession ${outcome(readPossession(bytes))}, as a record ${outcome(parseRecord(bytes))}`);
  for (let i = 0; i < bytes.length; i += 7) {
    const changed = bytes.slice();
    changed[i]! ^= 1;
    const again = readMakerStatement(changed);
    lines.push(
      `maker byte ${i} ${again.ok ? outcome(verifyMakerStatement(crypto, again.value, [maker.publicKey])) : again.failure.code}`,
    );
  }
  return lines;
}

function consumeRelayKeys(crypto: Crypto, vector: VectorFiles["relayKey"]): string[] {
  const keysOf = (seeds: readonly string[]) => seeds.map((seed) => Identity.ofSeed(fromHex(seed)!, crypto));
  const [devices, recoveries] = [keysOf(vector.deviceSeeds), keysOf(vector.recoverySeeds)];
  const signWith = (identity: Identity) => (bytes: Uint8Array) => {
    const signed = identity.sign(bytes);
    return signed.ok ? signed.value : new Uint8Array(64);
  };
  const lines: string[] = [];
  const stored = (pins: string) => ({ read: () => fromHex(pins), write: () => undefined, delete: () => undefined });
  let pins = readRelayPins(stored(vector.pins[0]!), crypto.sha256);
  for (const [i, [name, signer]] of [
    ["rotation", devices[0]!] as const,
    ["recovery", recoveries[0]!] as const,
  ].entries()) {
    if (!pins.ok) return [...lines, `relay-key pins ${pins.failure.code}`];
    const generation = vector.generations[i]!;
    const content = {
      origin: vector.origin,
      generation,
      deviceKey: devices[i + 1]!.publicKey,
      logKey: vector.logKeys[i]!,
    };
    const statement =
      i === 0
        ? content
        : {
            ...content,
            recoveryKey: recoveries[1]!.publicKey,
            tree: { size: vector.tree.size, root: fromHex(vector.tree.root)! },
          };
    const bytes = makeRelayKey(signer.kid, statement, signWith(signer), signWith(devices[i + 1]!));
    lines.push(`relay-key ${name} made ${toHex(bytes) === vector[name]}`);
    // No changed byte of one is read and still followed.
    for (let at = 0; at < bytes.length; at += 11) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      const refused = followRelayKey(crypto, pins.value, changed);
      lines.push(refused.ok ? `relay-key byte ${at} followed` : `relay-key byte ${at} ${refused.failure.code}`);
    }
    const followed = followRelayKey(crypto, pins.value, bytes);
    const again = followed.ok ? followRelayKey(crypto, followed.value, bytes) : followed;
    lines.push(`relay-key ${name} again ${again.ok ? "followed" : again.failure.code}`);
    pins = followed;
    const text = pins.ok && encodeRelayPins({ ...pins.value, logKey: formatVerifierKey(pins.value.logKey) });
    lines.push(`relay-key ${name} pinned ${text && toHex(text) === vector.pins[i + 1]}`);
  }
  return lines;
}

function consumeEvidence(crypto: Crypto, vector: VectorFiles["evidence"]): string[] {
  const policy = readPolicy(crypto.sha256, JSON.stringify(vector.policy));
  if (!policy.ok) return [`policy ${policy.failure.code}`];
  const bytes = fromHex(vector.evidence)!;
  const bundle = readBundle(bytes);
  const report = verifyEvidence(crypto, bytes, policy.value);
  if (!bundle.ok || !report.ok) return ["evidence unreadable"];
  return [
    `bundle ${toHex(encodeBundle(bundle.value)) === vector.evidence}`,
    `verdict ${report.value.verdict === vector.verdict}`,
    ...report.value.steps.map((step) => `${step.state} ${step.requirement} ${step.finding}`),
  ];
}
