import assert from "node:assert/strict";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { relayCrypto as crypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openRecoveryKey } from "../../hosts/relay/keys.js";
import { Relay } from "../../hosts/relay/relay.js";
import { must, ORIGIN, temporaryFolder } from "../relay/started.js";
import { play } from "./session.js";

describe("tallystick relay-key", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);

  before(async () => {
    play(
      `
$ tallystick relay-key recovery --out recovery.key
did:key:z6Mk…
fingerprint …-…-…-…-…
recovery.key is the secret half, readable by you alone: move it off this machine, …
Name the public half to a new relay: tallystick relay --init --recovery-key did:key:z6Mk…
Devices that are provisioned from it then follow whatever keys the secret half names.
[0]
`,
      folder.path,
    );
    const recovery = must(openRecoveryKey(at("recovery.key"), crypto));
    must(await Relay.initialise(at("relay"), { origin: ORIGIN, recoveryKey: recovery.publicKey }));
  });
  after(() => folder.remove());

  it("makes a recovery key once, for its owner alone, and tells its public half only", () => {
    assert.equal(statSync(at("recovery.key")).mode & 0o777, 0o600);
    const before = readFileSync(at("recovery.key"), "utf8");
    play(
      `
$ tallystick relay-key recovery --out recovery.key
KEY_EXISTS: …(recovery.key is there)…
[1]
$ tallystick relay-key recovery --out absent/recovery.key
DATA_FOLDER_UNWRITABLE: …
[1]
$ tallystick relay-key recovery
error: required option '--out <file>' not specified
(--help lists what it takes)
[2]
`,
      folder.path,
    );
    assert.equal(readFileSync(at("recovery.key"), "utf8"), before);
  });

  it("shows, rotates and recovers", () =>
    play(
      `
$ tallystick relay-key show --data relay
relay ${ORIGIN}
generation 0
device-facing key did:key:z6Mk… kid …
log key ${ORIGIN}+…+…
recovery key did:key:z6Mk…
statements 0
[0]
$ tallystick relay-key rotate --data relay
relay ${ORIGIN}
generation 1
…
Start the relay again: devices follow the statement as they come. …
[0]
$ tallystick relay-key rotate --data relay --log
relay ${ORIGIN}
generation 2
…
Tell whoever verifies this log its new key; what was signed before stays under the former.
[0]
$ tallystick relay-key recover --data relay --recovery recovery.key --log
relay ${ORIGIN}
generation 1024
…
[0]
$ tallystick relay-key show --data relay
…
generation 1024
…
statements 3
[0]
`,
      folder.path,
    ));

  it("says what is wrong, and changes nothing", async () => {
    const files = () => readdirSync(at("relay"), { recursive: true }).sort().join();
    const before = [files(), readFileSync(pathsOf(at("relay")).identity, "utf8")];
    const relay = must(await Relay.open({ dataDir: at("relay") }));
    play(
      `
$ tallystick relay-key rotate --data relay
DATA_FOLDER_LOCKED: …; stop it first, or give this one a folder of its own
[1]
$ tallystick relay-key show --data relay
relay ${ORIGIN}
…
[0]
`,
      folder.path,
    );
    await relay.close();
    cpSync(at("recovery.key"), at("open.key"));
    chmodSync(at("open.key"), 0o644);
    play(
      `
$ tallystick relay-key rotate --data absent
DATA_FOLDER_BLANK: …
[1]
$ tallystick relay-key recover --data relay --recovery absent.key
RELAY_KEY_MISSING: …(expected the recovery key absent.key)…
[1]
$ tallystick relay-key recover --data relay --recovery open.key
RELAY_KEY_UNSAFE: …
[1]
$ tallystick relay-key recovery --out another.key
…
[0]
$ tallystick relay-key recover --data relay --recovery another.key
RECOVERY_KEY_FOREIGN: …
[1]
$ tallystick relay-key recover --data relay --recovery recovery.key --next-recovery-key did:key:zNone
error: option '--next-recovery-key <did:key>' argument 'did:key:zNone' is invalid. expected did:key:z… of an Ed25519 key, as relay-key recovery prints it
(--help lists what it takes)
[2]
`,
      folder.path,
    );
    assert.ok(!existsSync(at("absent")), "a folder that is not there is not made");
    assert.deepEqual([files(), readFileSync(pathsOf(at("relay")).identity, "utf8")], before);
    rmSync(at("open.key"));
  });
});
