import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { openCheckpoint } from "tallystick/log/checkpoint";
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from "tallystick/log/note";
import { recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";
import { Relay } from "../../hosts/relay/relay.js";
import { FixtureDevice, get } from "../fixtures/device.js";
import { seeded } from "../log/disk.js";
import { play } from "../tools/session.js";
import { AnyLog, must, ORIGIN, post } from "./fixture.js";
import { linesOf, until } from "./lying.js";
import { Served } from "./process.js";

interface WitnessLine {
  readonly url: string;
  readonly name: string;
  readonly key: string;
  readonly logs: readonly string[];
}

const KILLS = 6;
const KILL_MAX_MS = 200;

describe("tallystick witness, as a process", function () {
  this.timeout(300_000);
  let folder: string;
  const started: Served<{ readonly url: string }>[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-witnesses-"));
  });
  afterEach(async () => {
    for (const each of started.splice(0)) await each.end("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  async function serve<Line extends { readonly url: string }>(...args: string[]): Promise<Served<Line>> {
    const served = await Served.start<Line>(folder, args);
    started.push(served);
    return served;
  }

  it("says what it takes, and refuses what it cannot do", () =>
    play(
      `
$ tallystick witness --help
Usage: tallystick witness [options]
…
  --log-key <line> …
…
[0]
$ tallystick witness
WITNESS_FOLDER_BLANK: the data folder holds no witness (expected witness.key in tallystick-witness, received none); make a new one there with --init and --name, or name the folder of an existing one
[1]
$ tallystick witness --init
error: --init needs --name <name>
(--help lists what it takes)
[2]
$ tallystick witness --init --name "two words"
error: --name: expected up to 64 bytes without spaces or plus
(--help lists what it takes)
[2]
$ tallystick witness --log-key nonsense
error: --log-key nonsense: expected <name>+<8 hexadecimal digits>+<base64>, received something else
(--help lists what it takes)
[2]
$ tallystick relay --witness http://127.0.0.1:1=nonsense
CONFIG_INVALID: a setting has a value that it cannot have (--witness: witnesses.asked: expected <url>=<verifier key line>, as tallystick witness prints it, received "http://127.0.0.1:1/…"); correct it; tallystick check-config --example says what each takes
[1]
`,
      folder,
    ));

  it("a relay and two of them: a reading is proved to have been witnessed by both, offline", async () => {
    const identity = must(await Relay.initialise(join(folder, "relay"), { origin: "relay.example/attic" }));
    const witnesses: Served<WitnessLine>[] = [];
    for (const name of ["w1", "w2"]) {
      const making = ["--init", "--name", `witness.example/${name}`, "--log-key", identity.logKey];
      witnesses.push(await serve("witness", "--data", name, ...making));
    }
    const [first, second] = witnesses.map(({ line }) => line);
    assert.deepEqual([first!.name, first!.logs], ["witness.example/w1", ["relay.example/attic"]]);
    const asking = witnesses.flatMap(({ line }) => ["--witness", `${line.url}=${line.key}`]);
    const relay = await serve("relay", "--data", "relay", ...asking, "--witnesses-wanted", "2", "--log", "warn");

    const device = new FixtureDevice({ crypto: relayCrypto });
    const { token } = must(makeEnrolmentToken(join(folder, "relay"), { nowMs: Date.now() }));
    const key = fromHex(identity.publicKey)!;
    device.read(await device.enrol(relay.url, "relay.example/attic", token), key);
    device.appendReadings(5);
    device.read(await device.send(relay.url), key);
    const view = async () => JSON.parse(Buffer.from((await get(`${relay.url}/v1/relay`)).bytes).toString());
    const expected = [first!, second!].map((line) => ({ key: line.key, cosigned_size: 7 }));
    await until("both cosignatures of all its records", async () =>
      isDeepStrictEqual((await view()).witnesses, expected),
    );
    const published = (await get(`${relay.url}/checkpoint`)).bytes;
    assert.deepEqual(linesOf(published).sort(), ["relay.example/attic", "witness.example/w1", "witness.example/w2"]);

    // The acknowledgement carries them, and so does the evidence.
    const { checkpoint: acknowledged } = device.read(await device.askHead(relay.url), key);
    const keys = witnesses.map(({ line }) => must(parseVerifierKey(relayCrypto.sha256, line.key)));
    const logKey = must(parseVerifierKey(relayCrypto.sha256, identity.logKey));
    const opened = must(openCheckpoint(relayCrypto, new Uint8Array(Buffer.from(acknowledged)), logKey, keys));
    assert.deepEqual(opened.cosignatures.map(({ name }) => name).sort(), ["witness.example/w1", "witness.example/w2"]);
    const id = toHex(recordId(relayCrypto.sha256, device.chain[3]!));
    const evidence = await get(`${relay.url}/v1/records/${id}/evidence`);
    assert.equal(evidence.status, 200, JSON.stringify(evidence.problem));
    writeFileSync(join(folder, "reading.tally"), evidence.bytes);
    const ready = await get(`${relay.url}/readyz`);
    assert.equal(JSON.parse(Buffer.from(ready.bytes).toString()).witnessed_size, 7);
    assert.equal(await relay.end("SIGINT"), 0);
    for (const witness of witnesses) assert.equal(await witness.end("SIGINT"), 0);

    const policy = (witnesses: readonly string[]) => ({
      log: identity.logKey,
      witnesses,
      require: ["signature", "logged", "witnessed"],
    });
    const stranger = formatVerifierKey(strangerKey());
    writeFileSync(join(folder, "both.json"), JSON.stringify(policy([first!.key, second!.key])));
    writeFileSync(join(folder, "three.json"), JSON.stringify(policy([first!.key, second!.key, stranger])));
    play(
      `
$ tallystick verify reading.tally --policy both.json
record …
…
proved  logged …
proved  witnessed  checkpoint  … 2 of 2 known witnesses cosigned, 2 are asked for
…
verdict: proved (signature, logged, witnessed)
[0]
$ tallystick verify reading.tally --policy three.json
record …
…
open    witnessed  checkpoint  … 2 of 3 known witnesses cosigned, 3 are asked for
…
verdict: incomplete (signature, logged, witnessed)
[3]
`,
      folder,
    );
  });

  function strangerKey(): VerifierKey {
    const { sha256, ed25519 } = relayCrypto;
    const publicKey = ed25519.publicKey(new Uint8Array(32).fill(77));
    const name = "witness.example/w3";
    const id = sha256(new Uint8Array([...Buffer.from(`${name}\n`), 4, ...publicKey])).slice(0, 4);
    return { name, type: 4, publicKey, id };
  }

  it("killed again and again while a log with two histories asks: only one of them is ever cosigned", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
    const draw = seeded(seed);
    const honest = new AnyLog();
    const other = new AnyLog(ORIGIN, 1, "!");
    const args = [
      "witness",
      "--data",
      "w",
      "--init",
      "--name",
      "witness.example/w",
      "--log-key",
      formatVerifierKey(honest.key),
    ];
    /** What was given out, by which history. */
    const given = new Map<AnyLog, number>();
    let cutOff = 0;
    try {
      for (let kill = 0; kill <= KILLS; kill++) {
        const witness = await serve<WitnessLine>(...args, "--log", "error");
        const held = Number((await post(witness.url, honest.request(1000, 1000))).text);
        const largest = Math.max(0, ...given.values());
        assert.ok(held >= largest, `it gave out ${largest} and remembers ${held}`);
        /** Asks for one entry more each time, until the witness is gone; a refused history has nothing more to ask. */
        const ask = async (history: AnyLog) => {
          let oldSize = held;
          for (;;) {
            const size = oldSize + 1;
            const answer = await post(witness.url, history.request(oldSize, size)).catch((error) => {
              if (!(error instanceof TypeError)) throw error;
              cutOff++;
            });
            if (answer === undefined) return;
            if (answer.status === 200) given.set(history, Math.max(given.get(history) ?? 0, size));
            else if (answer.status === 409) oldSize = Number(answer.text) - 1;
            else return void assert.equal(answer.code, "WITNESS_PROOF_FALSE");
            oldSize++;
          }
        };
        if (kill === KILLS) break;
        const first = kill % 2 === 0 ? honest : other;
        const asking = [first, first === honest ? other : honest].map(ask);
        await new Promise((resolve) => setTimeout(resolve, draw() * KILL_MAX_MS));
        await witness.end("SIGKILL");
        await Promise.all(asking);
      }
    } catch (error) {
      throw new Error(`SEED=${seed} npx mocha tests/witness/process.test.ts reruns this`, { cause: error });
    }
    assert.equal(given.size, 1, "both histories were cosigned");
    assert.ok(cutOff >= KILLS, `only ${cutOff} requests were cut off`);
    assert.ok(Math.max(...given.values()) > KILLS, `it cosigned up to ${[...given.values()]}`);
  });

  it("a second process on its folder is refused; its key never leaves it", async () => {
    const witness = await serve<WitnessLine>("witness", "--data", "w", "--init", "--name", "witness.example/w");
    play(
      `
$ tallystick witness --data w
WITNESS_FOLDER_HELD: …
[1]
`,
      folder,
    );
    assert.equal(await witness.end("SIGTERM"), 0);
    const secret = readFileSync(join(folder, "w", "witness.key"), "utf8")
      .trim()
      .split("+")
      .slice(4)
      .join("+");
    assert.ok(!witness.complaint().includes(secret) && !JSON.stringify(witness.line).includes(secret));
  });
});
