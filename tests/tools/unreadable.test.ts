import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eraseInFolder } from "../../hosts/relay/erase-folder.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import type { FixtureDevice } from "../fixtures/device.js";
import { must, StartedRelay, temporaryFolder } from "../relay/started.js";
import { TALLYSTICK } from "./session.js";

const COMMAND_MAX_MS = 50_000;
/**
 * util-linux's setpriv takes from root the right to read what its mode forbids. Another user would not do: it may not be
 * able to read this project either, as where that lies below a folder of mktemp's.
 */
const UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"] as const;

/** Commands on a folder of another user, as where a person forgets `sudo -u`. */
describe("tallystick: a folder that may not be read", function () {
  this.timeout(180_000);
  const folder = temporaryFolder();
  const data = join(folder.path, "relay");
  /** What a command begins with so that modes hold for it. */
  let prefix: readonly string[] = [];

  before(function () {
    if (process.platform === "win32") this.skip();
    mkdirSync(data);
    writeFileSync(join(data, "relay.json"), "{}");
    chmodSync(data, 0);
    if (!isReadable(data)) return;
    prefix = UNPRIVILEGED;
    const [command, ...args] = prefix;
    if (spawnSync(command!, [...args, "ls", data]).status === 2) return;
    console.log("      skipped: modes do not hold for this user, and setpriv (util-linux) cannot change that");
    this.skip();
  });
  after(() => {
    chmodSync(data, 0o700);
    folder.remove();
  });

  function run(...args: string[]): { readonly status: number | null; readonly said: string } {
    const [command, ...rest] = [...prefix, process.execPath, TALLYSTICK, ...args];
    const options = { cwd: tmpdir(), encoding: "utf8", timeout: COMMAND_MAX_MS } as const;
    const { status, stdout, stderr } = spawnSync(command!, rest, options);
    assert.doesNotMatch(stderr, /^ {4}at /m, `${args.join(" ")}: ${stderr}`);
    return { status, said: stdout + stderr };
  }

  const commands: readonly (readonly [status: number, ...args: string[]])[] = [
    [1, "enrol", "--data", data],
    [1, "device", "list", "--data", data],
    [1, "tenant", "list", "--data", data],
    [1, "operator-token", "list", "--data", data],
    [1, "erasures", data],
    [2, "fsck", data],
    [1, "backup", "--data", data, "--out", join(tmpdir(), "tallystick-backup-of-nothing")],
    [1, "relay-key", "show", "--data", data],
  ];
  for (const [expected, ...args] of commands)
    it(`${args[0]} says so, and as whom to run it`, () => {
      const { status, said } = run(...args);
      assert.match(said, /DATA_FOLDER_UNREADABLE: .*EACCES.*run this as the relay's user/);
      assert.equal(status, expected, said);
    });

  it("relay says so, and as whom to run it", () => {
    const { status, said } = run("relay", "--data", data);
    assert.match(said, /^DATA_FOLDER_UNWRITABLE: .*EACCES.*run this as that user/m);
    assert.equal(status, 1);
  });

  it("restore says so of the backups, and as whom to run it", () => {
    const { status, said } = run("restore", "--from", data, "--data", join(tmpdir(), "tallystick-restored-nowhere"));
    assert.match(said, /^BACKUP_UNREADABLE: .*EACCES.*run this as the user who made the backups/m);
    assert.equal(status, 1);
  });

  describe("fsck of a whole folder of which not all may be read", () => {
    let started: StartedRelay;
    let device: FixtureDevice;

    before(async () => {
      started = await StartedRelay.start();
      device = await started.device();
      device.appendReadings(3);
      device.read(await device.send(started.url, 1), started.key);
      await started.settled();
      await started.relay.close();
      const what = { kid: device.identity.kid, from: 2, to: 2, reason: "asked for", by: "test" };
      must(await eraseInFolder(started.folder, what, { decided: true, ...started.where }));
    });
    after(() => started.close());

    function examine(path: string, mode: number): string {
      const before = statSync(path).mode;
      chmodSync(path, mode);
      try {
        const { status, said } = run("fsck", started.folder);
        assert.equal(status, 3, said);
        assert.doesNotMatch(said, /damaged/);
        return said;
      } finally {
        chmodSync(path, before);
      }
    }

    it("says of a database that cannot be opened where nothing can be written that it is unexamined", function () {
      if (started.store) this.skip();
      assert.match(examine(started.folder, 0o500), /unexamined +store\.sqlite: STORE_FAILED/);
    });

    it("says so of the list of what was erased", () => {
      const list = pathsOf(started.folder).erasures;
      assert.match(examine(list, 0), /unexamined +log\/lock\/erasures: LOG_IO_FAILED: .*EACCES/);
    });
  });

  it("neither is a file that TALLYSTICK_STORE_URL_FILE names and that is not there a stack", () => {
    for (const args of [["enrol"], ["device", "list"], ["tenant", "list"], ["erasures", data], ["fsck", data]]) {
      const { status, stderr } = spawnSync(process.execPath, [TALLYSTICK, ...args], {
        cwd: folder.path,
        env: { ...process.env, TALLYSTICK_STORE_URL_FILE: "nofile" },
        encoding: "utf8",
        timeout: COMMAND_MAX_MS,
      });
      assert.match(stderr, /CONFIG_SECRET_UNREADABLE: .*TALLYSTICK_STORE_URL_FILE: ENOENT.*'nofile'/);
      assert.doesNotMatch(stderr, /^ {4}at /m);
      assert.equal(status, args[0] === "fsck" ? 2 : 1);
    }
  });
});

function isReadable(folder: string): boolean {
  try {
    readdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
