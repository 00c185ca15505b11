import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import { didKey, fromDidKey } from "tallystick/identity/key";
import { readMakerStatement, verifyMakerStatement } from "tallystick/record/maker";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FIRMWARE, FixtureDevice, get } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { ORIGIN } from "../relay/started.js";
import { play, TALLYSTICK } from "./session.js";

const vector = JSON.parse(readFileSync(new URL("../vectors/maker.json", import.meta.url), "utf8")) as {
  statement: string;
  genesis: string;
  makerSeed: string;
  makerPublicKey: string;
  devicePublicKey: string;
  ownerPublicKey: string;
  chip: string;
  firmwareSha256: string;
  text: string;
};
const did = (hex: string) => didKey(fromHex(hex)!);
const DEVICE = did(vector.devicePublicKey);
const MAKER = did(vector.makerPublicKey);
const OWNER = did(vector.ownerPublicKey);

/** The maker's commands as they are typed. */
describe("tallystick maker", function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), "tallystick-maker-"));
  const path = (name: string) => join(folder, name);
  const session = (text: string) => play(text, folder);
  after(() => rmSync(folder, { recursive: true, force: true }));

  before(() => {
    writeFileSync(path("vector.key"), `${vector.makerSeed}\n`, { mode: 0o600 });
    writeFileSync(path("open.key"), `${vector.makerSeed}\n`, { mode: 0o644 });
    writeFileSync(path("broken.key"), "no key at all\n", { mode: 0o600 });
    writeFileSync(path("good.vouch"), fromHex(vector.statement)!);
    const flipped = fromHex(vector.statement)!;
    flipped[flipped.length - 1]! ^= 1;
    writeFileSync(path("flipped.vouch"), flipped);
    writeFileSync(path("none.vouch"), fromHex(vector.genesis)!);
    writeFileSync(path("genesis.cbor"), fromHex(vector.genesis)!);
  });

  it("makes a key for its owner's eyes, once", async () => {
    session(`
$ tallystick maker key --out maker.key
did:key:z6Mk…
[0]
$ tallystick maker key --out maker.key
tallystick maker: FILE_EXISTS: there is a file already (expected no file at maker.key, found one); name another, …
[1]
$ tallystick maker key --out nowhere/maker.key
tallystick maker: FILE_UNWRITABLE: …
[1]
$ tallystick maker key
error: required option '--out <file>' not specified
(--help lists what it takes)
[2]
`);
    const seed = readFileSync(path("maker.key"), "ascii");
    assert.match(seed, /^[0-9a-f]{64}\n$/);
    if (process.platform !== "win32") assert.equal(statSync(path("maker.key")).mode & 0o777, 0o600);
  });

  it("signs for a device, byte for byte as the vector", async () => {
    const device = `--device ${DEVICE} --chip ${vector.chip} --firmware ${vector.firmwareSha256}`;
    session(`
$ tallystick maker vouch --key vector.key ${device} --owner ${OWNER} --text "${vector.text}" --out made.vouch
${MAKER} vouches for
  maker    0cdd13eea94e3516
  device   ${DEVICE}
  print    …, to compare by eye
  chip     240ac4000110
  firmware ${vector.firmwareSha256}
  owner    ${OWNER}
  text     "batch 7, no. 42"
[0]
$ tallystick maker vouch --key vector.key ${device} --out made.vouch
tallystick maker: FILE_EXISTS: …
[1]
$ tallystick maker vouch --key vector.key ${device} --out vector.key
tallystick maker: FILE_EXISTS: …
[1]
`);
    assert.equal(toHex(new Uint8Array(readFileSync(path("made.vouch")))), vector.statement);
    assert.equal(readFileSync(path("vector.key"), "ascii").trim(), vector.makerSeed);
    const args = ["maker", "vouch", "--key", "vector.key", ...device.split(" "), "--out", "-"];
    const { stdout, status } = spawnSync(process.execPath, [TALLYSTICK, ...args], { cwd: folder });
    assert.equal(status, 0);
    const read = readMakerStatement(new Uint8Array(stdout));
    assert.ok(read.ok);
    assert.ok(verifyMakerStatement(relayCrypto, read.value, [fromHex(vector.makerPublicKey)!]).ok);
  });

  it("says what is wrong with a key file, and with what was typed", async () => {
    const device = `--device ${DEVICE} --chip ${vector.chip} --firmware ${vector.firmwareSha256} --out x.vouch`;
    const safe = process.platform !== "win32" ? "1" : "0";
    if (safe === "1")
      session(`
$ tallystick maker vouch --key open.key ${device}
tallystick maker: KEY_FILE_UNSAFE: others may read the key (expected mode 600 of open.key, found 644); chmod 600 …
[1]
`);
    session(`
$ tallystick maker vouch --key broken.key ${device}
tallystick maker: KEY_FILE_MALFORMED: the file holds no key (broken.key: expected 64 hexadecimal digits); …
[1]
$ tallystick maker vouch --key absent.key ${device}
tallystick maker: FILE_UNREADABLE: …
[1]
$ tallystick maker vouch --key vector.key ${device.replace(DEVICE, "did:key:z1")}
error: option '--device <did:key>' argument 'did:key:z1' is invalid. expected did:key:z… of an Ed25519 key
(--help lists what it takes)
[2]
$ tallystick maker vouch --key vector.key ${device.replace(vector.chip, "240ac4")}
error: option '--chip <hex>' argument '240ac4' is invalid. expected 4 to 16 bytes in hexadecimal
(--help lists what it takes)
[2]
$ tallystick maker vouch --key vector.key ${device.replace(vector.firmwareSha256, "c3bf")}
error: option '--firmware <hex>' argument 'c3bf' is invalid. expected 32 bytes in hexadecimal
(--help lists what it takes)
[2]
$ tallystick maker vouch --key vector.key ${device} --text "${"x".repeat(65)}"
error: option '--text <text>' argument '${"x".repeat(65)}' is invalid. expected 1 to 64 bytes of UTF-8
(--help lists what it takes)
[2]
$ tallystick relay --maker did:key:z1
error: option '--maker <did:key>' argument 'did:key:z1' is invalid. expected did:key:z… of an Ed25519 key, …
(--help lists what it takes)
[2]
`);
  });

  it("shows a statement, and whether a maker has signed it", () =>
    session(`
$ tallystick maker show good.vouch
maker    0cdd13eea94e3516
device   ${DEVICE}
print    …
chip     240ac4000110
firmware ${vector.firmwareSha256}
owner    ${OWNER}
text     "batch 7, no. 42"
not checked: name the maker with --maker
[0]
$ tallystick maker show good.vouch --maker ${MAKER}
maker    0cdd13eea94e3516
…
signed by ${MAKER}
[0]
$ tallystick maker show good.vouch --maker ${MAKER} --json
{"maker_kid":"0cdd13eea94e3516","device":"${DEVICE}","chip":"240ac4000110","firmware_sha256":"${vector.firmwareSha256}","owner":"${OWNER}","text":"batch 7, no. 42","signature":"proved"}
[0]
$ tallystick maker show good.vouch --maker ${DEVICE}
maker    0cdd13eea94e3516
…
tallystick maker: MAKER_UNKNOWN: …
[1]
$ tallystick maker show flipped.vouch --maker ${MAKER}
maker    0cdd13eea94e3516
…
tallystick maker: MAKER_FALSE: …
[1]
$ tallystick maker show none.vouch
tallystick maker: MAKER_MALFORMED: …
[2]
$ tallystick maker show absent.vouch
tallystick maker: FILE_UNREADABLE: …
[2]
$ tallystick inspect good.vouch
maker's statement
maker    0cdd13eea94e3516
…
[0]
$ tallystick inspect genesis.cbor
record …
…
         did      ${DEVICE}
         print    …, to compare by eye
         statement of a maker:
           maker    0cdd13eea94e3516
           device   ${DEVICE}
…
[0]
`));

  it("lets a device in at a relay that was told of the maker, from key to acknowledgement", async () => {
    const key = spawnSync(process.execPath, [TALLYSTICK, "maker", "key", "--out", "works.key"], {
      cwd: folder,
      encoding: "utf8",
    });
    const maker = fromDidKey(key.stdout.trim())!;
    const relay = await relayProcess("--init", "--origin", ORIGIN, "--maker", didKey(maker));
    try {
      const seed = new Uint8Array(32).fill(0x91);
      const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
      const firmware = toHex(FIRMWARE.sha256);
      session(`
$ tallystick maker vouch --key works.key --device ${didKey(publicKey)} --chip 0254414c5901 --firmware ${firmware} --out works.vouch
…
[0]
`);
      const told = JSON.parse(Buffer.from((await get(`${relay.url}/v1/relay`)).bytes).toString());
      assert.deepEqual(told.enrolment, ["token", "maker"]);
      const statement = new Uint8Array(readFileSync(path("works.vouch")));
      const device = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { statement } });
      device.read(await device.enrol(relay.url, ORIGIN, undefined), fromHex(told.device_key)!);
      const other = new FixtureMaker(relayCrypto);
      const refused = new FixtureDevice({ crypto: relayCrypto, genesis: (own) => ({ statement: other.vouch(own) }) });
      assert.equal((await refused.enrol(relay.url, ORIGIN, undefined)).problem?.code, "MAKER_UNKNOWN");
    } finally {
      await relay.stop();
    }
    // The next start is told of nobody, and is open instead.
    const open = await relayProcess("--open-enrolment");
    try {
      const told = JSON.parse(Buffer.from((await get(`${open.url}/v1/relay`)).bytes).toString());
      assert.deepEqual(told.enrolment, ["token", "open"]);
      const device = new FixtureDevice({ crypto: relayCrypto });
      device.read(await device.enrol(open.url, ORIGIN, undefined), fromHex(told.device_key)!);
    } finally {
      await open.stop();
    }
  });

  /** `tallystick relay` as it is typed, until it is told to stop. */
  async function relayProcess(...args: readonly string[]): Promise<{ url: string; stop(): Promise<unknown> }> {
    const words = ["relay", "--data", path("relay"), "--json", "--log", "silent", ...args];
    const child = spawn(process.execPath, [TALLYSTICK, ...words], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.on("exit", resolve));
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout.setEncoding("utf8").once("data", resolve);
      void ended.then((status) => reject(new Error(`the relay ended with ${status}`)));
    });
    return {
      url: JSON.parse(line).url,
      stop: () => {
        child.kill("SIGTERM");
        return ended;
      },
    };
  }
});
