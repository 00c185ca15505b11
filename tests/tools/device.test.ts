import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromHex } from "tallystick/bytes/bytes";
import { visible } from "tallystick/bytes/visible";
import { didKey } from "tallystick/identity/key";
import { Kind, recordId } from "tallystick/record/record";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { FixtureDevice, readingPayload } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { ORIGIN, StartedRelay } from "../relay/started.js";
import { runBeside } from "./run.js";
import { play } from "./session.js";

/** The operator's commands beside a running relay, as they are typed. */
describe("tallystick device", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  let device: FixtureDevice;

  before(async () => {
    started = await StartedRelay.start();
    device = new FixtureDevice({ crypto: relayCrypto, seed: new Uint8Array(32).fill(0x41) });
    device.read(await device.enrol(started.url, ORIGIN, started.token()), started.key);
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    writeFileSync(join(started.folder, "none.cbor"), device.chain[1]!);
  });
  after(() => started.close());

  /** A session in the relay's folder; times are as they come. */
  const session = (text: string) => play(text, started.folder);

  it("lists and shows what is enrolled", () =>
    session(`
$ tallystick device list --data .
${device.kid}  active  seq 3  fixture
[0]
$ tallystick device show --data . ${device.kid}
device ${device.kid}
  key …
  print …, to compare by eye
  fixture, active, newest record at seq 3
  heard …
[0]
$ tallystick device show --data . 0011223344556677
tallystick device: DEVICE_UNKNOWN: no device with this key is enrolled here (expected an enrolled kid, received 0011223344556677); …
[1]
$ tallystick device show --data . nobody
tallystick device: KID_MALFORMED: the text names no device (expected 16 hexadecimal digits in lower case or a did:key, received nobody); name it by …
[1]
$ tallystick device list --data nowhere
tallystick device: DATA_FOLDER_BLANK: …
[1]
`));

  it("lets a device go on that a fork holds back", async () => {
    const id = recordId(relayCrypto.sha256, device.chain[1]!);
    const branch = device.make(Kind.readings, readingPayload(9), { ...device.head, seq: 1, id });
    assert.equal((await device.sendBytes(started.url, branch)).problem?.code, "CHAIN_FORK");
    await session(`
$ tallystick device list --data .
${device.kid}  forked  seq 3  fixture  held back since …  1 fork
[0]
$ tallystick device continue --data . ${device.kid}
device ${device.kid}
  key …
  print …
  fixture, forked, newest record at seq 3
  heard …
  1 fork
  fork at seq 2
    held      …
    received  …
  …  continue
[0]
`);
    device.appendReading(1);
    assert.equal(device.read(await device.send(started.url, 4), started.key).received?.seq, 4);
  });

  it("revokes a key, and says what it lacks", async () => {
    await session(`
$ tallystick device revoke --data . ${device.kid}
error: revoke takes either --from <seq> or --statement <file>
(--help lists what it takes)
[2]
$ tallystick device revoke --data . ${device.kid} --from -1
error: option '--from <seq>' argument '-1' is invalid. expected a position from 0 to 9007199254740991
(--help lists what it takes)
[2]
$ tallystick device revoke --data . ${device.kid} --statement none.cbor
tallystick device: STATEMENT_MALFORMED: …
[1]
$ tallystick device revoke --data . ${device.kid} --from 3 --reason sold
would revoke ${device.kid} from seq 3 on, for good: seq 3 to 4, and all that may come; with --yes it does
[0]
$ tallystick device revoke --data . ${device.kid} --from 5 --json
{"kid":"${device.kid}","seq":4,"wouldRevokeFrom":5,"done":false}
[0]
`);
    device.appendReading(1);
    assert.equal(device.read(await device.send(started.url, 5), started.key).received?.seq, 5, "nothing was done");
    await session(`
$ tallystick device revoke --data . ${device.kid} --from 6 --reason sold --yes
device ${device.kid}
  key …
  print …
  fixture, forked, newest record at seq 5
  heard …
  revoked from seq 6 on
  1 fork
  fork at seq 2
    held      …
    received  …
  …  continue
  …  revoke
[0]
$ tallystick device revoke --data . ${device.kid} --from 9 --yes
nothing to revoke: ${device.kid} is revoked from seq 6 on already
[0]
$ tallystick device continue --data . ${device.kid}
tallystick device: KEY_REVOKED: … (to continue would change nothing: it is revoked from seq 6 on, received seq 6); …
[1]
`);
    device.appendReading(1);
    assert.equal((await device.send(started.url, 6)).problem?.code, "KEY_REVOKED");
  });

  it("takes an owner's statement, made with a key that never was at the relay", async () => {
    const seed = new Uint8Array(32).fill(0x42);
    const { publicKey } = new FixtureDevice({ crypto: relayCrypto, seed }).identity;
    await session(`
$ tallystick owner key --out owner.key
did:key:z6Mk…
[0]
$ tallystick owner key --out owner.key
tallystick owner: FILE_EXISTS: …
[1]
`);
    const ownerSeed = fromHex(readFileSync(join(started.folder, "owner.key"), "ascii").trim())!;
    const ownerKey = relayCrypto.ed25519.publicKey(ownerSeed);
    const statement = new FixtureMaker(relayCrypto).vouch(publicKey, { ownerKey });
    const owned = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { statement } });
    owned.read(await owned.enrol(started.url, ORIGIN, started.token()), started.key);
    await session(`
$ tallystick owner revoke --key owner.key --device ${didKey(publicKey)} --from 1 --out end.cbor --reason "board stolen"
${didKey(ownerKey)} revokes
  device   ${didKey(publicKey)}
  print    …, to compare by eye
  from     seq 1 on
  reason   "board stolen"
[0]
$ tallystick owner revoke --key owner.key --device did:key:zNobody --from 1 --out other.cbor
error: option '--device <did:key>' argument 'did:key:zNobody' is invalid. expected did:key:z… of an Ed25519 key
(--help lists what it takes)
[2]
$ tallystick owner revoke --key owner.key --device ${didKey(publicKey)} --from 1 --out end.cbor
tallystick owner: FILE_EXISTS: …
[1]
$ tallystick owner revoke --key owner.key --device ${didKey(publicKey)} --from 1 --out o.cbor --reason ${"x".repeat(65)}
error: option '--reason <text>' argument '${"x".repeat(65)}' is invalid. expected 1 to 64 bytes of UTF-8
(--help lists what it takes)
[2]
$ tallystick device revoke --data . ${owned.kid} --from 1
tallystick device: REVOCATION_FALSE: …
[1]
$ tallystick device revoke --data . ${didKey(publicKey)} --statement end.cbor
would revoke ${owned.kid} from seq 1 on, for good: no record that is held, and all that may come; with --yes it does
[0]
$ tallystick device revoke --data . ${didKey(publicKey)} --statement end.cbor --yes
device ${owned.kid}
  key ${didKey(publicKey)}
  print …
  fixture, active, newest record at seq 0
  heard …
  revoked from seq 1 on
[0]
`);
    owned.appendReading(1);
    assert.equal((await owned.send(started.url, 1)).problem?.code, "KEY_REVOKED");
  });

  it("shows what a stranger has named, and gives the terminal no orders of his", async () => {
    const hostile = await started.device({ genesis: { model: "ok\u001b[1A\u001b[2K\u009b31m\u202e" } });
    const shown = "ok⟨U+001B⟩[1A⟨U+001B⟩[2K⟨U+009B⟩31m⟨U+202E⟩";
    for (const what of [["list"], ["show", hostile.kid]]) {
      const { received } = await runBeside(started.folder, ["device", ...what, "--data", "."]);
      assert(received.includes(shown), received);
    }
    for (let point = 0; point <= 0x10ffff; point++) {
      const character = String.fromCodePoint(point);
      if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(character))
        assert.notEqual(visible(character), character, point.toString(16));
    }
    assert.equal(visible("Ä dé 温度 ~!"), "Ä dé 温度 ~!");
  });
});
