import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "tallystick/bytes/bytes";
import { didKey } from "tallystick/identity/key";
import { parseVerifierKey } from "tallystick/log/note";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { Relay } from "../../hosts/relay/relay.js";
import { openSource, readLeaves, readOpeningEntry, TILES_AHEAD } from "../../tools/verify/log-source.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { changeAndRestart } from "../relay/key-change.js";
import { must, StartedRelay } from "../relay/started.js";
import { linesOf, until } from "../witness/lying.js";
import { Served } from "../witness/process.js";
import { runBeside } from "./run.js";
import { play } from "./session.js";

const { sha256 } = relayCrypto;
const HOUR_MS = 3_600_000;
/** No checkpoint but those that a test asks for. */
const ON_DEMAND = { batchIntervalMs: HOUR_MS } as const;
/** Two hours ago the relays here took their records in, and promised them within ten minutes. */
const agoMs = () => Date.now() - 2 * HOUR_MS;

/** Real relays, their keys, a real witness, and the command: who kept the word of an acknowledgement. */
describe("tallystick verify, of an acknowledgement", function () {
  this.timeout(120_000);
  let folder: string;
  let started: StartedRelay;
  let device: FixtureDevice;
  const running: { close(): Promise<unknown> }[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-omission-"));
    started = await StartedRelay.start({ ...ON_DEMAND, nowMs: agoMs });
    device = await started.device({}, agoMs());
    await started.settled();
  });
  afterEach(async () => {
    for (const each of running.splice(0)) await each.close();
    await started.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const write = (name: string, bytes: Uint8Array | string) => writeFileSync(join(folder, name), bytes);
  const idHex = (seq: number) => toHex(recordId(sha256, device.chain[seq]!));
  const publicFolder = (data = started.folder) => join(pathsOf(data).log, "public");
  const run = (...args: string[]) => runBeside(folder, args);
  const verify = (file: string, log: string, ...more: string[]) =>
    run("verify", file, "--policy", "policy.json", "--log", log, ...more);

  function policy(parts: object = {}): void {
    write("policy.json", JSON.stringify({ log: started.relay.identity.logKey, ...parts }));
  }

  /** The device brings its next records; the relay's answer is kept as it came. */
  async function promised(name: string, records = 1): Promise<void> {
    device.appendReadings(records);
    const answer = await device.send(started.url, device.chain.length - records);
    const { received, logged, logByS } = device.read(answer, started.key);
    assert.equal(received?.seq, device.head.seq);
    assert.ok(logged && logged.seq < received.seq && logByS !== undefined);
    write(name, answer.bytes);
  }

  async function witness(): Promise<{ readonly url: string; readonly key: string }> {
    const args = ["--data", "witness", "--init", "--name", "witness.example/w1"];
    const served = await Served.start<{ url: string; key: string }>(folder, [
      "witness",
      ...args,
      "--log-key",
      started.relay.identity.logKey,
    ]);
    running.push({ close: () => served.end() });
    return served.line;
  }

  /**
   * The relay gives its word for records, and goes on as if it had never had them: with its own keys, from a copy of its
   * folder from before, where other records enter the log that its witness cosigns.
   */
  async function dropped(): Promise<{ liar: Relay; other: FixtureDevice; witnessKey: string }> {
    const { url, key: witnessKey } = await witness();
    const other = await started.device({}, agoMs());
    await started.settled();
    await started.relay.close();
    const copy = join(folder, "copy");
    cpSync(started.folder, copy, { recursive: true });
    await started.reopen({ ...ON_DEMAND, nowMs: agoMs, ...started.where });
    await promised("word.ack", 2);
    const witnesses = [{ url, key: must(parseVerifierKey(sha256, witnessKey)) }];
    const liar = must(await Relay.open({ dataDir: copy, batchIntervalMs: 20, witnesses }));
    running.push(liar);
    other.appendReadings(300);
    for (const from of [1, 151]) other.read(await other.send(liar.url, from, from + 149), started.key);
    await until("the cosignature", () => liar.log.head.size > 300 && linesOf(liar.log.head.checkpoint).length === 2);
    policy({ witnesses: [witnessKey] });
    return { liar, other, witnessKey };
  }

  it("is proved of a relay that dropped what it had acknowledged, by its log's files and a witness's cosignature", async () => {
    const { liar, other, witnessKey } = await dropped();
    const mirror = publicFolder(join(folder, "copy"));
    for (const log of [mirror, `${liar.url}/`]) {
      const { received, left } = await verify("word.ack", log);
      assert.match(received, new RegExp(`^acknowledgement of device ${device.kid}\n\nproved  relay`));
      assert.match(received, /\nproved {2}time +1 of 1 known witnesses saw no larger tree after /);
      assert.match(received, new RegExp(`\nBROKEN {2}received +received 2, ${idHex(2)}: promised by `));
      assert.match(received, /\nkept {4}logged +logged 0, .* it stands at index 1 of 3\n/);
      assert.match(received, /\n {2}that the log had signed no larger tree by then: .*\n[\s\S]*\n\nverdict: proved\n$/);
      assert.equal(left, 0);
    }
    // A file of the checkpoint as the witness shows it does as well.
    write("note", readFileSync(join(mirror, "checkpoint")));
    const asJson = await verify("word.ack", mirror, "--checkpoint", "note", "--json");
    const report = JSON.parse(asJson.received);
    assert.equal(report.verdict, "proved");
    assert.deepEqual(report.acknowledgement.received, { seq: 2, id: idHex(2) });
    assert.deepEqual(report.missing, []);

    // Without the witness: open; or by what the relay itself tells another device since.
    policy({ witnesses: [] });
    assert.equal((await verify("word.ack", mirror)).left, 3);
    write("later.ack", (await other.askHead(liar.url)).bytes);
    const byWord = await verify("word.ack", mirror, "--checkpoint", "later.ack");
    assert.match(byWord.received, /the relay itself signed .* that this is its newest tree/);
    assert.equal(byWord.left, 0);

    // Any damage to what it hangs on, and it is proved no more.
    policy({ witnesses: [witnessKey] });
    const spoil = async (name: string, change: (bytes: Buffer) => Uint8Array | undefined) => {
      const spoilt = join(folder, "spoilt");
      rmSync(spoilt, { recursive: true, force: true });
      cpSync(mirror, spoilt, { recursive: true });
      const bytes = change(readFileSync(join(spoilt, name)));
      rmSync(join(spoilt, name));
      if (bytes) writeFileSync(join(spoilt, name), bytes);
      return verify("word.ack", "spoilt", "--checkpoint", "note");
    };
    const flip = (at: number) => (bytes: Buffer) => bytes.fill(bytes[at]! ^ 1, at, at + 1);
    const partial = `tile/0/001.p/${readdirSync(join(mirror, "tile/0/001.p"))[0]}`;
    for (const tile of ["tile/0/000", partial]) {
      assert.match(
        (await spoil(tile, flip(40))).received,
        /open {4}entries +the leaf hashes give root .*\n[\s\S]*incomplete\n$/,
      );
      const gone = await spoil(tile, () => undefined);
      assert.match(gone.received, /missing {2}LOG_FILE_ABSENT: .* \(expected .*tile.0.00[01].*\); name a folder/);
      assert.equal(gone.left, 3);
      assert.match((await spoil(tile, (bytes) => bytes.subarray(0, 64))).received, /missing {2}LOG_TILE_CORRUPT/);
    }
    const foreign = await spoil("tile/entries/000", flip(30));
    assert.match(foreign.received, /open {4}relay/);
    assert.equal(foreign.left, 3);
  });

  it("is false of a relay that kept its word, by whatever keys it speaks since", async () => {
    policy();
    await promised("first.ack");
    const early = await verify("first.ack", started.url);
    assert.match(early.received, /open {4}received +received 1, .* but the time, .*, may not have passed/);
    assert.equal(early.left, 3);
    await started.settled();
    for (const log of [started.url, publicFolder()]) {
      const { received, left } = await verify("first.ack", log);
      assert.match(
        received,
        /kept {4}received +received 1, .* kept, it stands at index 2 of 3\n[\s\S]*verdict: false\n$/,
      );
      assert.equal(left, 1);
    }
    await changeAndRestart(started, { withLogKey: true });
    await started.restart({ ...ON_DEMAND, nowMs: agoMs });
    await promised("second.ack");
    await started.settled();
    // Under the log's former key nothing that is said now is this log's.
    assert.equal((await verify("second.ack", started.url)).left, 3);
    policy();
    for (const file of ["first.ack", "second.ack"]) {
      const kept = await verify(file, started.url);
      assert.match(kept.received, /kept {4}received/, kept.received);
      assert.equal(kept.left, 1);
    }
    assert.match((await verify("second.ack", started.url)).received, /1 changes of keys lead to it from leaf 0/);
    // A folder has no statements: they are named, as the relay gave them.
    assert.equal((await verify("second.ack", publicFolder())).left, 3);
    write("keys", (await get(`${started.url}/v1/relay/keys?generation=0`)).bytes);
    assert.equal((await verify("second.ack", publicFolder(), "--relay-keys", "keys")).left, 1);
  });

  it("is false of a record whose body was erased: its id stays", async () => {
    policy();
    await promised("word.ack", 3);
    await started.settled();
    device.appendReadings(2);
    device.read(await device.send(started.url, device.chain.length - 2), started.key);
    await started.settled();
    const copied = must(await readOpeningEntry(openSource(started.url), started.relay.log.head.size));
    write("opening", copied);
    const request = { kid: device.identity.kid, from: 3, to: 3, reason: "asked", by: "operator" };
    must(await eraseInFolder(started.folder, request, { decided: true }));
    assert.equal((await get(`${started.url}/v1/records/${idHex(3)}`)).status, 410);
    // The bundle that held it has the opening, too: who keeps no copy of that has to know the relay's key.
    const open = await verify("word.ack", started.url);
    assert.match(
      open.received,
      /open {4}relay .*[\s\S]*missing {2}LOG_ENTRY_ERASED: .*entries.* is withheld, since .*--opening <file>, .*--relay-key/,
    );
    assert.equal(open.left, 3);
    const kept = join(pathsOf(started.folder).log, "kept/tile/entries");
    const bundle = readdirSync(kept, { recursive: true, encoding: "utf8" }).find((name) =>
      /^000(\.p.\d+)?$/.test(name),
    );
    for (const known of [
      ["--relay-key", didKey(started.key)],
      ["--opening", "opening"],
      ["--opening", join(kept, bundle!)],
    ]) {
      const kept = await verify("word.ack", started.url, ...known);
      assert.match(kept.received, new RegExp(`kept {4}received +received 3, ${idHex(3)}: kept`));
      assert.equal(kept.left, 1);
    }
  });

  it("asks a relay for its word, and keeps it in a file of its own", async () => {
    policy();
    device.appendReadings(1);
    device.read(await device.send(started.url), started.key);
    const asked = await run("acknowledgement", device.kid, "--relay", started.url, "--out", "kept.ack");
    assert.match(
      asked.received,
      new RegExp(`^received seq 1 {2}${idHex(1)}\nlogged {3}seq 0 .*\nto be logged by .*Z\n$`),
    );
    assert.equal(asked.left, 0);
    assert.equal((await verify("kept.ack", started.url)).left, 3);
    await started.settled();
    assert.equal((await verify("kept.ack", started.url)).left, 1);
    const did = didKey(device.identity.publicKey);
    const asJson = await run("acknowledgement", did, "--relay", `${started.url}/`, "--out", "again.ack", "--json");
    assert.deepEqual(JSON.parse(asJson.received).logged, { seq: 1, id: idHex(1) });
    const cases: readonly [string[], RegExp, number][] = [
      [[device.kid, "--relay", started.url, "--out", "kept.ack"], /FILE_EXISTS/, 1],
      [["0011223344556677", "--relay", started.url, "--out", "x"], /DEVICE_UNKNOWN/, 1],
      [[device.kid, "--relay", `${started.url}/nothing`, "--out", "x"], /tallystick acknowledgement: /, 1],
      [[device.kid, "--relay", "http://127.0.0.1:1", "--out", "x"], /SERVER_UNREACHABLE/, 1],
      [["someone", "--relay", started.url, "--out", "x"], /KID_MALFORMED/, 2],
      [[device.kid, "--relay", "127.0.0.1:18431", "--out", "x"], /put http:\/\/ or https:\/\/ in front of 127/, 2],
    ];
    for (const [args, expected, status] of cases) {
      const { received, left } = await run("acknowledgement", ...args);
      assert.match(received, expected);
      assert.equal(left, status, received);
      assert.doesNotMatch(received, /^ {4}at /m);
    }
  });

  it("takes from a server what is bounded, and ends at once when it is told to", async () => {
    policy();
    await promised("word.ack");
    write("note", started.relay.log.head.checkpoint);
    const server = await served((path, answer) => {
      if (path === "/checkpoint") answer(200, new Uint8Array(200_000));
      else if (path.startsWith("/tile/0")) answer(302, new Uint8Array(0));
      else answer(500, new Uint8Array(9));
    });
    const { received, left } = await verify("word.ack", server.url);
    assert.match(received, /missing {2}SERVER_UNREACHABLE: .*checkpoint: expected at most 131072 bytes, received more/);
    assert.equal(left, 3);
    let silent: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      silent = resolve;
    });
    const hangs = await served(() => silent());
    const ended = await runBeside(
      folder,
      ["verify", "word.ack", "--policy", "policy.json", "--log", hangs.url],
      (end) => begun.then(() => end("SIGINT")),
    );
    assert.deepEqual(ended, { received: "", left: "SIGINT" });
  });

  it("says what it takes, and which file cannot be read", async () => {
    policy();
    await promised("word.ack");
    write("nothing", "no note\n");
    play(
      `
$ tallystick verify --help
Usage: tallystick verify [options] <file>
…
  --log <place> …
…
[0]
$ tallystick acknowledgement --help
Usage: tallystick acknowledgement [options] <device>
…
[0]
$ tallystick verify word.ack --policy policy.json
tallystick verify: word.ack: EVIDENCE_MALFORMED: … (an acknowledgement is judged by the log: name it with --log <place>); …
[2]
$ tallystick verify policy.json --policy policy.json --log .
tallystick verify: policy.json: STATEMENT_MALFORMED: … (it seems to be JSON, as a policy is, and an acknowledgement is CBOR); …
[2]
$ tallystick verify word.ack --log .
tallystick verify: --policy: POLICY_MALFORMED: …
[2]
$ tallystick verify word.ack --checkpoint nothing
error: --checkpoint, --relay-keys, --opening and --relay-key go with --log <place>
(--help lists what it takes)
[2]
$ tallystick verify word.ack --policy policy.json --log . --checkpoint nothing
tallystick verify: nothing: NOTE_MALFORMED: …
[2]
$ tallystick verify word.ack --policy policy.json --log . --relay-key me
error: option '--relay-key <did:key>' argument 'me' is invalid. expected did:key:z… of an Ed25519 key
(--help lists what it takes)
[2]
$ tallystick verify word.ack --policy policy.json --log . --json
{
  "verdict": "incomplete",
…
[3]
`,
      folder,
    );
  });

  it("has no more than so many tiles under way, and takes nothing behind one that is missing", async () => {
    let [under, most, asked] = [0, 0, 0];
    const source = {
      async file(path: string) {
        asked++;
        most = Math.max(most, ++under);
        await new Promise((resolve) => setImmediate(resolve));
        under--;
        const absent = { code: "LOG_FILE_ABSENT", detail: path } as const;
        return path.endsWith("/100") ? { ok: false as const, failure: absent } : must({ ok: true, value: tile });
      },
      wider: () => undefined,
      relayKeys: async () => ({ ok: true as const, value: [] }),
    };
    const tile = { ok: true as const, value: new Uint8Array(8192) };
    let tiles = 0;
    for await (const hashes of readLeaves(source, 256 * 1000)) if (hashes.ok) tiles++;
    assert.equal(tiles, 100);
    assert.equal(most, TILES_AHEAD);
    assert.ok(asked <= 101 + TILES_AHEAD);
  });

  async function served(
    answers: (path: string, answer: (status: number, bytes: Uint8Array) => void) => void,
  ): Promise<{ readonly url: string }> {
    const server: Server = createServer((request, response) =>
      answers(request.url!, (status, bytes) => response.writeHead(status, { location: "/checkpoint" }).end(bytes)),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    running.push({
      close: () => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(resolve));
      },
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }
});
