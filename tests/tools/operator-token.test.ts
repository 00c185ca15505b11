import assert from "node:assert/strict";
import { toHex } from "tallystick/bytes/bytes";
import { administer } from "../../hosts/relay/enrol.js";
import { ask, idOf } from "../relay/operator/operators.js";
import { must, StartedRelay } from "../relay/started.js";
import { play } from "./session.js";

/** Operators' tokens and tenants beside a running relay, as they are typed. */
describe("tallystick operator-token, tallystick tenant", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  before(async () => {
    started = await StartedRelay.start();
  });
  after(() => started.close());

  const session = (text: string) => play(text, started.folder);

  it("makes tenants and lists them", () =>
    session(`
$ tallystick tenant create north --data .
north
[0]
$ tallystick tenant create north --data .
tallystick tenant: TENANT_EXISTS: …
[1]
$ tallystick tenant create North --data .
tallystick tenant: TENANT_NAME_UNUSABLE: …
[1]
$ tallystick tenant list --data .
default
north
[0]
$ tallystick tenant list --data . --json
{"name":"default","made_at_ms":0}
{"name":"north","made_at_ms":…}
[0]
$ tallystick tenant list --data nowhere
tallystick tenant: DATA_FOLDER_BLANK: …
[1]
`));

  it("makes a token that the running relay takes, lists and revokes it", async () => {
    session(`
$ tallystick operator-token create --data . --role viewer
error: create takes either --tenant <name> or --all-tenants
(--help lists what it takes)
[2]
$ tallystick operator-token create --data . --role king --tenant north
error: option '--role <role>' argument 'king' is invalid. Allowed choices are viewer, operator, admin.
(--help lists what it takes)
[2]
$ tallystick operator-token create --data . --role viewer --tenant nowhere
tallystick operator-token: TENANT_UNKNOWN: …
[1]
$ tallystick operator-token create --data . --role admin --tenant north --label "Ada's desk" --days 7
tsop_…
[0]
$ tallystick operator-token list --data .
…  admin     north  until …  never used  Ada's desk
[0]
$ tallystick operator-token list --data . --tenant default
[0]
$ tallystick operator-token revoke --data . tsop_0123
error: revoke takes a token's id, 16 hexadecimal digits
(--help lists what it takes)
[2]
$ tallystick operator-token revoke --data . 0011223344556677
tallystick operator-token: OPERATOR_TOKEN_UNKNOWN: …
[1]
`);
    const made = must(
      administer(started.folder, (on) => on.makeOperatorToken({ role: "viewer", tenant: "north", label: "" })),
    );
    assert.equal((await ask(started.url, "GET", "/v1/operator/self", made.token)).body.tenant, "north");
    session(`
$ tallystick operator-token revoke --data . ${idOf(made.token)}
${idOf(made.token)}  viewer    north  revoked …  used …
[0]
`);
    const ended = await ask(started.url, "GET", "/v1/operator/self", made.token);
    assert.equal(ended.body.code, "OPERATOR_TOKEN_ENDED");
    const admin = must(
      administer(started.folder, (on) => on.makeOperatorToken({ role: "admin", tenant: "north", label: "" })),
    ).token;
    const body = { role: "viewer", label: "made" };
    const { token } = (await ask(started.url, "POST", "/v1/operator/tokens", admin, body)).body;
    session(`
$ tallystick operator-token revoke --data . ${idOf(admin)}
${idOf(admin)}  admin     north  revoked …  used …
1 made by it count still; --with-made revokes them, too
[0]
$ tallystick operator-token revoke --data . ${idOf(admin)} --with-made
${idOf(admin)}  admin     north  revoked …  used …
${idOf(token)}  viewer    north  revoked …  never used  made
[0]
`);
  });

  it("makes enrolment tokens for a tenant, lists its devices and moves them", async () => {
    const device = await started.device();
    session(`
$ tallystick enrol --data . --tenant north --json
{"token":"…","expires":"…"}
[0]
$ tallystick enrol --data . --hours 999999999
error: option '--hours <number>' argument '999999999' is invalid. expected whole hours, from 1 to 99999
(--help lists what it takes)
[2]
$ tallystick enrol --data . --tenant nowhere
TENANT_UNKNOWN: …
[1]
$ tallystick device list --data . --tenant north
no device is enrolled; make a token with tallystick enrol
[0]
$ tallystick device assign --data . ${toHex(device.identity.kid)} north
device ${device.kid}
…
  tenant north
[0]
$ tallystick device list --data . --tenant north
${device.kid}  active  seq 0  fixture  tenant north
[0]
$ tallystick device list --data . --tenant nowhere
tallystick device: TENANT_UNKNOWN: …
[1]
`);
  });
});
