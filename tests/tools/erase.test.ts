import { StartedRelay, temporaryFolder } from "../relay/started.js";
import { play } from "./session.js";

describe("tallystick erase", function () {
  this.timeout(120_000);

  it("plays as a manual would print it, on a stopped relay", async () => {
    const started = await StartedRelay.start();
    const folder = temporaryFolder();
    try {
      const device = await started.device();
      device.appendReadings(20);
      device.read(await device.send(started.url, 1), started.key);
      await started.settled();
      await started.relay.close();
      const [data, kid] = [started.folder, device.kid];
      play(
        `
$ tallystick erasures ${data}
nothing was erased
[0]
$ tallystick erase ${data} --device ${kid} --from 5 --to 7 --reason asked
would erase the bytes of 3 records, and publish 1 bundle no more; with --yes it does
[0]
$ tallystick erase ${data} --device ${kid} --from 0 --to 7 --reason asked --yes
ERASURE_REFUSED: these positions cannot be erased (expected positions above genesis, which binds the key of all others, received seq 0); …
[1]
$ tallystick erase ${data} --device ${kid} --from 5 --to 7 --reason asked --by operator --yes
erasure 1: 3 records, 1 bundle published no more
Backups and mirrors made before still have the bytes: remove them, and make another backup.
[0]
$ tallystick erase ${data} --device ${kid} --from 7 --to 7 --reason again --yes
nothing to erase; 1 record erased already
[0]
$ tallystick erase ${data} --device ${kid} --from 7 --to 8 --reason again --by operator --yes --json
{"erasure":2,"records":1,"already":1,"bundles":1,"done":true}
[0]
$ tallystick erasures ${data}
1  …  ${kid} seq 5 to 7, 3 records, by operator: asked
2  …  ${kid} seq 7 to 8, 1 record, by operator: again
[0]
$ tallystick erase ${data} --device ${kid} --from 5
error: required option '--to <seq>' not specified
…
[2]
$ tallystick erase ${data} --device nobody --from 5 --to 6 --reason asked
KID_MALFORMED: the text names no device (…, received nobody); name it by its kid or its did:key, …
[1]
$ tallystick fsck ${data}
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
