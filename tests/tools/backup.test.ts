import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { StartedRelay, temporaryFolder } from "../relay/started.js";
import { play } from "./session.js";

describe("tallystick backup and restore", function () {
  this.timeout(120_000);

  it("play as a manual would print them", async () => {
    const folder = temporaryFolder();
    const started = await StartedRelay.start();
    try {
      const device = await started.device();
      device.appendReadings(20);
      device.read(await device.send(started.url, 1), started.key);
      await started.settled();
      await started.relay.close();
      const data = join(folder.path, "relay");
      cpSync(started.folder, data, { recursive: true });
      play(
        `
$ tallystick restore --from backups --data relay
BACKUP_MISSING: there is no complete backup in the folder (expected a complete backup in backups, found none); …
[1]
$ tallystick backup --data relay --out backups --with-keys
backup-000001: 21 records, log of 22 entries, 7 files, 2 of the log's copied
It holds the relay's keys: whoever has it can speak as the relay. The log's lock and its key's memory are not in it.
[0]
`,
        folder.path,
      );
      rmSync(join(data, "store.sqlite"));
      play(
        `
$ tallystick restore --from backups --data relay
backup-000001: every byte looked at, 1 files written, log of 22 entries
The relay can be started.
[0]
$ tallystick backup --data relay --out backups
backup-000002: 21 records, …
It holds no key: …
[0]
$ tallystick backup --data relay --out backups --keep 1
backup-000003: 21 records, …
It holds no key: …
removed backup-000002
kept backup-000001 beyond --keep: it is the newest that holds keys
[0]
$ tallystick restore --from backups --data another --backup backup-000001
backup-000001: every byte looked at, 7 files written, log of 22 entries
lacking  lock and memory of the log's key: nobody here knows whether more than 22 entries were signed. …
The relay cannot be started yet.
[3]
$ tallystick restore --from backups --data another --backup backup-000001 --newest backups/backup-000001/checkpoint
backup-000001: every byte looked at, 2 files written, log of 22 entries
The relay can be started.
[0]
$ tallystick fsck another
…
verdict: clean
[0]
`,
        folder.path,
      );
    } finally {
      folder.remove();
      await started.close();
    }
  });
});
