import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex } from "tallystick/bytes/bytes";
import { encodeForkProof } from "tallystick/chain/fork";
import { readBundle } from "tallystick/evidence/bundle";
import { didKey } from "tallystick/identity/key";
import { Kind } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, readingPayload } from "../fixtures/device.js";
import { play, TALLYSTICK } from "./session.js";

const vector = JSON.parse(readFileSync(new URL("../vectors/evidence.json", import.meta.url), "utf8")) as {
  policy: { log: string; devices: string[]; require: string[] };
  evidence: string;
};

const load = (name: string): Record<string, string> =>
  JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8"));

/** The command as scripts use it: what it prints and which status it leaves, for real files. */
describe("tallystick verify", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-verify-"));
  const write = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  after(() => rmSync(folder, { recursive: true, force: true }));

  before(() => {
    const evidence = fromHex(vector.evidence)!;
    write("good.tally", evidence);
    // The last byte of the first record's signature: its length stands in the two bytes before d2 84.
    const flipped = Buffer.from(evidence);
    const record = flipped.indexOf(Buffer.from([0xd2, 0x84]));
    flipped[record + flipped.readUInt16BE(record - 2) - 1]! ^= 1;
    write("flipped.tally", flipped);
    write("cut.tally", evidence.subarray(0, evidence.length - 1));
    write("good.json", JSON.stringify(vector.policy));
    write("stranger.json", JSON.stringify({ ...vector.policy, devices: [] }));
    write("anchored.json", JSON.stringify({ ...vector.policy, require: ["anchored"] }));
    const stranger = didKey(relayCrypto.ed25519.publicKey(new Uint8Array(32).fill(77)));
    write("silent.json", JSON.stringify({ log: vector.policy.log, devices: [stranger] }));
    write("nothing.json", JSON.stringify({ ...vector.policy, require: [] }));
    write("typing.json", JSON.stringify({ ...vector.policy, requires: ["anchored"] }));
    write("text.json", "trust me");
    write("relay.toml", readFileSync(new URL("../../hosts/relay/relay.toml", import.meta.url)));
    write("good.hex", `${vector.evidence}\n`);
    write("empty", "");
    const bundle = readBundle(evidence);
    assert.ok(bundle.ok);
    write("checkpoint", bundle.value.checkpoint);
    write("record", bundle.value.entries[0]!.record);
    write("revocation", fromHex(load("keys.json")["revocation"]!)!);
    write("word.ack", fromHex(load("acknowledgement.json")["acknowledgement"]!)!);
    const device = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(3) });
    const { head } = device;
    const branches = [
      device.make(Kind.readings, readingPayload(1), head),
      device.make(Kind.readings, readingPayload(2), head),
    ];
    const { publicKey } = device.identity;
    write("fork.cbor", encodeForkProof(relayCrypto.sha256, publicKey, branches[0]!, branches[1]!));
    write("twice.cbor", encodeForkProof(relayCrypto.sha256, publicKey, branches[0]!, branches[0]!));
    write("none.cbor", Uint8Array.of(0x84, 1, 2, 3, 4));
  });

  it("exits with 0 where all is proved, 3 where something required is open", () =>
    play(
      `
$ tallystick verify good.tally --policy good.json
record …
…
proved  signature  …
…
not proved by any file of this kind:
…

verdict: proved (signature, device, logged)
[0]
$ tallystick verify good.tally --policy stranger.json
…
open    device …
…
verdict: incomplete (signature, device, logged)
[3]
$ tallystick verify good.tally --policy anchored.json
…
open    anchored   ledger             the file holds no anchor
…
verdict: incomplete (anchored)
[3]
$ tallystick verify good.tally --policy silent.json
…
open    device …
…
verdict: incomplete (signature, device, logged)
[3]
`,
      folder,
    ));

  it("exits with 1 where a bit was flipped", () =>
    play(
      `
$ tallystick verify flipped.tally --policy good.json
…
FALSE   …
…
verdict: false (signature, device, logged)
[1]
`,
      folder,
    ));

  it("exits with 2, and one line, where a file cannot be read", () =>
    play(
      `
$ tallystick verify absent.tally --policy good.json
tallystick verify: absent.tally: FILE_UNREADABLE: the file cannot be read (ENOENT: …); name a file …
[2]
$ tallystick verify . --policy good.json
tallystick verify: .: FILE_UNREADABLE: the file cannot be read (EISDIR: …); name a file …
[2]
$ tallystick verify cut.tally --policy good.json
tallystick verify: cut.tally: CBOR_INVALID: …
[2]
$ tallystick verify good.tally --policy typing.json
tallystick verify: typing.json: POLICY_MALFORMED: the policy cannot be read (expected one of the members log, …, not "requires"); …
[2]
$ tallystick verify good.tally --policy nothing.json
tallystick verify: nothing.json: POLICY_MALFORMED: the policy cannot be read (expected require as a list of at least one of signature, …); …
[2]
$ tallystick verify good.tally --policy text.json
tallystick verify: text.json: POLICY_MALFORMED: …
[2]
$ tallystick verify good.tally
tallystick verify: good.tally: POLICY_MALFORMED: … (evidence is judged by what you trust: name it with --policy <file>); …
[2]
`,
      folder,
    ));

  it("says what a file seems to be that is no evidence", () =>
    play(
      [
        ["good.json", "it seems to be JSON, as a policy is, and evidence is CBOR"],
        ["relay.toml", "it seems to be TOML, as a relay's configuration is, and evidence is CBOR"],
        ["good.hex", "it seems to be bytes spelled in hexadecimal, and evidence is CBOR"],
        ["checkpoint", "it seems to be a signed note, as a checkpoint is, and evidence is CBOR"],
        ["text.json", "it seems to be plain text, and evidence is CBOR"],
        ["empty", "it is empty"],
        ["record", "it is a record by itself: tallystick evidence fetches what proves it"],
        ["revocation", "it is a revocation, which evidence may carry: tallystick inspect prints it"],
        ["word.ack", "an acknowledgement is judged by the log: name it with --log <place>"],
      ]
        .map(
          ([file, seeming]) => `
$ tallystick verify ${file} --policy good.json
tallystick verify: ${file}: EVIDENCE_MALFORMED: the file is not Tallystick evidence (${seeming}); …
[2]`,
        )
        .join(""),
      folder,
    ));

  it("proves a fork by two records, without any policy", () =>
    play(
      `
$ tallystick verify fork.cbor
key did:key:z6Mk…
  print …-…-…-…-…, to compare by eye
record …
  readings, seq 1, boot 0, behind …
record …
  readings, seq 1, boot 0, behind …

proved  fork  the key has signed two records at seq 1

not proved by any file of this kind:
…
verdict: proved
[0]
$ tallystick verify twice.cbor
tallystick verify: twice.cbor: FORK_UNPROVED: the two records do not prove a fork (expected two records, received one twice); …
[1]
$ tallystick verify none.cbor
tallystick verify: none.cbor: FORK_MALFORMED: …
[2]
$ tallystick verify fork.cbor --json
{
  "verdict": "proved",
  "fork": {
    "did": "did:key:z6Mk…",
…
[0]
`,
      folder,
    ));

  it("does not read on where a file has no end", function () {
    if (process.platform === "win32") this.skip();
    play(
      `
$ tallystick verify /dev/zero --policy good.json
tallystick verify: /dev/zero: FILE_UNREADABLE: the file cannot be read (expected at most 4194304 bytes); …
[2]
`,
      folder,
    );
  });

  it("prints one JSON document, also of a failure, with bytes in hexadecimal", () => {
    const json = (...args: string[]) => {
      const { stdout } = spawnSync(process.execPath, [TALLYSTICK, "verify", ...args, "--json"], {
        cwd: folder,
        encoding: "utf8",
      });
      return JSON.parse(stdout);
    };
    const proved = json("good.tally", "--policy", "good.json");
    assert.deepEqual(Object.keys(proved), ["verdict", "required", "records", "steps", "notProved"]);
    assert.equal(proved.verdict, "proved");
    assert.deepEqual(proved.required, vector.policy.require);
    for (const { id, kid } of proved.records) {
      assert.match(id, /^[0-9a-f]{64}$/);
      assert.match(kid, /^[0-9a-f]{16}$/);
    }
    for (const step of proved.steps)
      assert.deepEqual(Object.keys(step), ["state", "requirement", "subject", "finding"]);
    // A typed array would be an object of numbered members.
    assert(!JSON.stringify(proved).includes('"0":'));

    const flipped = json("flipped.tally", "--policy", "good.json");
    assert.equal(flipped.verdict, "false");
    assert(flipped.steps.some(({ state }: { state: string }) => state === "false"));

    const unread = json("absent.tally", "--policy", "good.json");
    assert.equal(unread.verdict, "unreadable");
    assert.equal(unread.file, "absent.tally");
    assert.equal(unread.failure.code, "FILE_UNREADABLE");
  });
});
