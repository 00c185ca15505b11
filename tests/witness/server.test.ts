import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "tallystick/bytes/bytes";
import { formatCheckpoint, openCheckpoint } from "tallystick/log/checkpoint";
import { formatNote, openNote, SignatureType } from "tallystick/log/note";
import { ADD_CHECKPOINT_MAX_BYTES, encodeAddCheckpoint, originHash } from "tallystick/log/witness";
import { emptyRoot } from "tallystick/merkle/merkle";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { systemEntropy } from "../../hosts/relay/keys.js";
import { nodeDisk } from "../../hosts/relay/log/disk.js";
import { WitnessServer } from "../../hosts/relay/witness/server.js";
import { Witness } from "../../hosts/relay/witness/witness.js";
import { AnyLog, must, ORIGIN, post, StartedWitness, signerOf } from "./fixture.js";

const { sha256 } = relayCrypto;

describe("witness: add-checkpoint, as C2SP tlog-witness has it", () => {
  const log = new AnyLog();
  let witness: StartedWitness;
  let nowMs = 1_790_000_000_000;

  beforeEach(async () => {
    witness = await StartedWitness.start([log.key], "witness.example/w1", { nowMs: () => nowMs });
  });
  afterEach(() => witness.close());

  /** The answer's lines verify over exactly this checkpoint. */
  function cosigned(checkpoint: Uint8Array, lines: string): number {
    const note = new Uint8Array([...checkpoint, ...utf8(lines)]);
    const opened = must(openCheckpoint(relayCrypto, note, log.key, [witness.key]));
    assert.equal(opened.cosignatures.length, 1);
    return opened.cosignatures[0]!.timeS!;
  }

  it("cosigns the first checkpoint it sees, each that continues it, and the same one again at a later time", async () => {
    for (const [oldSize, size] of [
      [0, 1],
      [1, 5],
      [5, 5],
      [5, 8],
      [8, 300],
    ] as const) {
      nowMs += 10_000;
      const answer = await post(witness.url, log.request(oldSize, size));
      assert.equal(answer.status, 200, answer.text);
      assert.match(answer.text, /^\u2014 witness\.example\/w1 [A-Za-z0-9+/]+=*\n$/);
      assert.equal(cosigned(log.checkpoint(size), answer.text), nowMs / 1000);
    }
  });

  it("409 tells the size it holds, and nothing else, in C2SP's type", async () => {
    const blank = await post(witness.url, log.request(3, 5));
    assert.deepEqual([blank.status, blank.type, blank.text], [409, "text/x.tlog.size", "0\n"]);
    assert.equal((await post(witness.url, log.request(0, 4))).status, 200);
    for (const [oldSize, size] of [
      [0, 4],
      [0, 9],
      [3, 9],
      [5, 9],
      [2, 3],
      [0, 2],
    ] as const) {
      const answer = await post(witness.url, log.request(oldSize, size));
      assert.deepEqual([answer.status, answer.type, answer.text], [409, "text/x.tlog.size", "4\n"]);
    }
    assert.equal((await post(witness.url, log.request(4, 9))).status, 200);
  });

  it("400 for an old size above the checkpoint's, and for what is no such request", async () => {
    const above = encodeAddCheckpoint({ oldSize: 6, path: [], checkpoint: log.checkpoint(5) });
    const honest = Buffer.from(log.request(0, 5)).toString();
    const bodies: Record<string, Uint8Array | string> = {
      above,
      nothing: "",
      "no empty line": "old 0\n",
      "a leading zero": honest.replace("old 0", "old 00"),
      "another word": honest.replace("old", "new"),
      "a carriage return": honest.replace("old 0\n", "old 0\r\n"),
      "a size beyond": honest.replace("old 0", "old 9007199254740992"),
      "a short hash": honest.replace("old 0\n", "old 0\nAAAA\n"),
      "64 hashes": honest.replace("old 0\n", `old 0\n${`${"A".repeat(43)}=\n`.repeat(64)}`),
      "no signature": honest.slice(0, honest.indexOf("\u2014")),
      "a checkpoint of two lines": honest.replace(/\n5\n/, "\n"),
      "a size in hexadecimal": honest.replace(/\n5\n/, "\n0x5\n"),
    };
    for (const [name, body] of Object.entries(bodies)) {
      const answer = await post(witness.url, typeof body === "string" ? utf8(body) : body);
      assert.deepEqual([answer.status, answer.code], [400, "WITNESS_REQUEST_MALFORMED"], name);
    }
  });

  it("404 for a log it was not told of", async () => {
    const answer = await post(witness.url, new AnyLog("other.example/log").request(0, 3));
    assert.deepEqual([answer.status, answer.code], [404, "WITNESS_LOG_UNKNOWN"]);
  });

  it("403 without a signature of a known key, and for one that does not verify", async () => {
    const stranger = await post(witness.url, new AnyLog(ORIGIN, 2).request(0, 3));
    assert.deepEqual([stranger.status, stranger.code], [403, "WITNESS_LOG_UNSIGNED"]);
    const text = formatCheckpoint({ origin: ORIGIN, ...log.tree(3) });
    const line = log.signer.line(text);
    line.signature[7]! ^= 1;
    // Also beside a line of another trusted key, which does verify.
    for (const signatures of [[line], [signerOf("stranger.example", 9).line(text), line]]) {
      const checkpoint = formatNote({ text, signatures });
      const broken = await post(witness.url, encodeAddCheckpoint({ oldSize: 0, path: [], checkpoint }));
      assert.deepEqual([broken.status, broken.code], [403, "WITNESS_LOG_UNSIGNED"]);
    }
    // Lines of unknown keys beside the log's are passed over.
    const signatures = [signerOf("stranger.example", 9).line(text), log.signer.line(text)];
    const checkpoint = formatNote({ text, signatures });
    assert.equal((await post(witness.url, encodeAddCheckpoint({ oldSize: 0, path: [], checkpoint }))).status, 200);
  });

  it("422 for a path that does not show it, another root at one size, and a path where none belongs", async () => {
    const other = new AnyLog(ORIGIN, 1, "!", 2);
    const shifted = log.path(4, 9);
    [shifted[0], shifted[1]] = [shifted[1]!, shifted[0]!];
    const unneeded = encodeAddCheckpoint({ oldSize: 0, path: log.path(2, 4), checkpoint: log.checkpoint(4) });
    assert.equal((await post(witness.url, unneeded)).status, 422, "a path from nothing");
    assert.equal((await post(witness.url, log.request(0, 4))).status, 200);
    const bodies = {
      "another history, its own path": other.request(4, 9),
      "another history, this one's path": encodeAddCheckpoint({
        oldSize: 4,
        path: log.path(4, 9),
        checkpoint: other.checkpoint(9),
      }),
      "another root at the size": other.request(4, 4),
      "a path between equal sizes": encodeAddCheckpoint({
        oldSize: 4,
        path: log.path(2, 4),
        checkpoint: log.checkpoint(4),
      }),
      "a path in another order": encodeAddCheckpoint({ oldSize: 4, path: shifted, checkpoint: log.checkpoint(9) }),
      "no path": encodeAddCheckpoint({ oldSize: 4, path: [], checkpoint: log.checkpoint(9) }),
    };
    for (const [name, body] of Object.entries(bodies)) {
      const answer = await post(witness.url, body);
      assert.deepEqual([answer.status, answer.code], [422, "WITNESS_PROOF_FALSE"], name);
    }
    assert.equal((await post(witness.url, log.request(4, 9))).status, 200, "none of them left a trace");
  });

  it("a tree of no entries has the empty root, or is refused", async () => {
    const of = (root: Uint8Array) => {
      const text = formatCheckpoint({ origin: ORIGIN, size: 0, root });
      const checkpoint = formatNote({ text, signatures: [log.signer.line(text)] });
      return encodeAddCheckpoint({ oldSize: 0, path: [], checkpoint });
    };
    assert.equal((await post(witness.url, of(new Uint8Array(32)))).status, 422);
    assert.equal((await post(witness.url, of(emptyRoot(sha256)))).status, 200);
    assert.equal((await post(witness.url, log.request(0, 2))).status, 200);
  });

  it("cosigns another log's extension lines with the text, and follows a log to its next key", async () => {
    const text = `${formatCheckpoint({ origin: ORIGIN, ...log.tree(3) })}extension 1\n`;
    const checkpoint = formatNote({ text, signatures: [log.signer.line(text)] });
    const answer = await post(witness.url, encodeAddCheckpoint({ oldSize: 0, path: [], checkpoint }));
    assert.equal(answer.status, 200, answer.text);
    const note = new Uint8Array([...checkpoint, ...utf8(answer.text)]);
    assert.equal(must(openNote(relayCrypto, note, [witness.key])).text, text);
    const next = new AnyLog(ORIGIN, 7);
    assert.equal((await post(witness.url, next.request(3, 6))).status, 403);
    await witness.restart({ logs: [log.key, next.key] });
    assert.equal((await post(witness.url, next.request(3, 6))).status, 200);
    assert.equal((await post(witness.url, log.request(6, 7))).status, 200);
  });

  it("shows what it cosigned last, with the log's line and its own, under the origin's hash", async () => {
    const at = (hash: string) => fetch(`${witness.url}/${hash}/checkpoint`);
    const hash = originHash(sha256, ORIGIN);
    assert.equal((await at(hash)).status, 404, "nothing yet");
    assert.equal((await post(witness.url, log.request(0, 5))).status, 200);
    const shown = await at(hash);
    assert.equal(shown.status, 200);
    const note = new Uint8Array(await shown.arrayBuffer());
    assert.equal(must(openCheckpoint(relayCrypto, note, log.key, [witness.key])).cosignatures.length, 1);
    for (const wrong of ["0".repeat(64), hash.toUpperCase(), "..%2f..", hash.slice(1)]) {
      assert.ok([400, 404].includes((await at(wrong)).status), wrong);
    }
  });

  it("takes any type and none, no encoding, and no body beyond its limit", async () => {
    const body = log.request(0, 2);
    const gzip = await post(witness.url, body, { "content-encoding": "gzip" });
    assert.equal(gzip.status, 415);
    const large = new Uint8Array(ADD_CHECKPOINT_MAX_BYTES + 1).fill(0x41);
    assert.equal((await post(witness.url, large)).status, 413);
    assert.equal((await post(witness.url, body, { "content-type": "application/octet-stream" })).status, 200);
    const { port, host } = new URL(witness.url);
    const raw = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), "127.0.0.1", () => {
        const request = log.request(2, 3);
        socket.write(`POST /add-checkpoint HTTP/1.1\r\nhost: ${host}\r\ncontent-length: ${request.length}\r\n`);
        socket.write("connection: close\r\n\r\n");
        socket.write(request);
      });
      let text = "";
      socket.on("data", (data) => {
        text += data.toString();
      });
      socket.on("end", () => resolve(text));
      socket.on("error", reject);
    });
    assert.match(raw, /^HTTP\/1\.1 200 OK/);
    const method = await fetch(`${witness.url}/add-checkpoint`);
    assert.deepEqual([method.status, method.headers.get("allow")], [405, "POST"]);
  });

  it("of many that race from one size, one history is cosigned, whoever comes first", async () => {
    assert.equal((await post(witness.url, log.request(0, 4))).status, 200);
    const branches = Array.from({ length: 12 }, (_, i) => new AnyLog(ORIGIN, 1, `branch ${i}`, 4));
    const answers = await Promise.all(branches.map((branch, i) => post(witness.url, branch.request(4, 5 + i))));
    const won = answers.flatMap(({ status }, i) => (status === 200 ? [i] : []));
    assert.equal(won.length, 1);
    assert.ok(answers.every(({ status, text }) => status === 200 || text === `${5 + won[0]!}\n`));
  });

  it("remembers over restarts; several processes cannot have one folder", async () => {
    assert.equal((await post(witness.url, log.request(0, 6))).status, 200);
    const second = await WitnessServer.open({ dataDir: witness.folder, logs: [log.key] });
    assert.equal(second.ok ? "ok" : second.failure.code, "WITNESS_FOLDER_HELD");
    const key = witness.key;
    await witness.restart();
    assert.deepEqual(witness.key, key);
    assert.equal((await post(witness.url, log.request(0, 6))).text, "6\n");
    assert.equal((await post(witness.url, new AnyLog(ORIGIN, 1, "!", 3).request(6, 7))).status, 422);
    assert.equal((await post(witness.url, log.request(6, 7))).status, 200);
  });
});

describe("witness: a folder that is not as it was left", () => {
  const log = new AnyLog();
  let folder: string;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-witness-"));
    must(await Witness.create({ ...parts(), entropy: systemEntropy }, "witness.example/w1"));
    const witness = must(await Witness.open(opening()));
    assert.ok("cosignature" in (await witness.add(log.request(0, 3))));
    witness.close();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const parts = () => ({ disk: nodeDisk, crypto: relayCrypto, folder });
  const opening = () => ({ ...parts(), logs: [log.key], nowMs: Date.now });
  const memory = () => join(folder, "logs", originHash(sha256, ORIGIN));

  async function refusal(more: object = {}): Promise<string> {
    const opened = await Witness.open({ ...opening(), ...more });
    if (opened.ok) opened.value.close();
    return opened.ok ? "ok" : opened.failure.code;
  }

  it("keeps key and memory to its owner", async () => {
    for (const path of [join(folder, "witness.key"), memory()])
      assert.equal((statSync(path).mode & 0o777).toString(8), "600", path);
    chmodSync(join(folder, "witness.key"), 0o640);
    assert.equal(await refusal(), "WITNESS_KEY_UNSAFE");
  });

  it("refuses a memory with any bit changed, cut short, or of another log", async () => {
    const whole = readFileSync(memory());
    const dash = Buffer.from("\u2014");
    // The log's own line is not what the memory is read by: the witness's shows that the text is whole.
    const [logLine, ownLine] = [whole.indexOf(dash), whole.lastIndexOf(dash)];
    for (let at = 0; at < whole.length; at += 3) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1;
      writeFileSync(memory(), changed);
      const code = await refusal();
      if (at < logLine || at >= ownLine) assert.equal(code, "WITNESS_MEMORY_CORRUPT", `byte ${at}`);
      else assert.ok(["ok", "WITNESS_MEMORY_CORRUPT"].includes(code), `byte ${at} of the log's line`);
    }
    for (const bytes of [whole.subarray(0, 20), Buffer.alloc(0)]) {
      writeFileSync(memory(), bytes);
      assert.equal(await refusal(), "WITNESS_MEMORY_CORRUPT");
    }
    const other = new AnyLog("other.example/log");
    writeFileSync(memory(), whole);
    writeFileSync(join(folder, "logs", originHash(sha256, other.origin)), whole);
    assert.equal(await refusal({ logs: [log.key, other.key] }), "WITNESS_MEMORY_CORRUPT");
    assert.equal(await refusal(), "ok");
  });

  it("never makes a key beside a memory, nor in a folder that was not made for it", async () => {
    const key = readFileSync(join(folder, "witness.key"));
    must(await Witness.create({ ...parts(), entropy: systemEntropy }, "witness.example/other"));
    assert.deepEqual(readFileSync(join(folder, "witness.key")), key, "a key that is there stays");
    assert.equal(await refusal({ name: "witness.example/other" }), "WITNESS_KEY_MALFORMED");
    writeFileSync(join(folder, "witness.key"), key.subarray(3));
    assert.equal(await refusal(), "WITNESS_KEY_MALFORMED");
    rmSync(join(folder, "witness.key"));
    assert.equal(await refusal(), "WITNESS_KEY_MISSING");
    const made = await Witness.create({ ...parts(), entropy: systemEntropy }, "witness.example/w1");
    assert.equal(made.ok ? "ok" : made.failure.code, "WITNESS_KEY_MISSING");
    assert.equal(await refusal({ folder: join(folder, "absent") }), "WITNESS_FOLDER_BLANK");
  });

  it("its key is a cosignature key, and no log's", () => {
    const line = readFileSync(join(folder, "witness.key"), "utf8");
    assert.match(line, /^PRIVATE\+KEY\+witness\.example\/w1\+[0-9a-f]{8}\+/);
    assert.equal(Buffer.from(line.trim().split("+").slice(4).join("+"), "base64")[0], SignatureType.cosignature);
  });
});
