import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import Sqlite from "better-sqlite3";
import { makeRevocation } from "tallystick/chain/revocation";
import type { Identity } from "tallystick/identity/identity";
import { encodeRequest } from "tallystick/sync/messages";
import { encodeSuccessionRequest } from "tallystick/sync/succession";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { MIGRATIONS, SCHEMA_VERSION } from "../../hosts/relay/store/schema.js";
import { FixtureDevice, get, post } from "../fixtures/device.js";
import { FixtureMaker } from "../fixtures/maker.js";
import { keyOf } from "../fixtures/relay-keys.js";
import { setBackTo } from "./older-store.js";
import { itOfSqlite } from "./postgres/of-sqlite.js";
import { MANY_ATTEMPTS, must, StartedRelay } from "./started.js";

const CLI = fileURLToPath(new URL("../../tools/tallystick.mjs", import.meta.url));

describe("relay: whoever would use or stop a key that is not theirs", function () {
  this.timeout(60_000);
  let started: StartedRelay;
  const owner = keyOf(0x35);
  const maker = new FixtureMaker(relayCrypto);

  beforeEach(async () => {
    started = await StartedRelay.start({ attempts: MANY_ATTEMPTS });
  });
  afterEach(() => started.close());

  function revocation(device: FixtureDevice, fromSeq: number, signer: Identity): Uint8Array {
    return makeRevocation(signer.kid, { kid: device.identity.kid, fromSeq, timeS: 1_800_000_000 }, (bytes) =>
      must(signer.sign(bytes)),
    );
  }
  const revoke = (device: FixtureDevice, statement: Uint8Array) =>
    post(`${started.url}/v1/devices/${device.kid}/revocation`, statement);

  const owned = () =>
    started.device({
      genesis: (publicKey) => ({
        relayKey: started.key,
        statement: maker.vouch(publicKey, { ownerKey: owner.publicKey }),
      }),
    });

  async function rotated(former: FixtureDevice): Promise<FixtureDevice> {
    const seed = new Uint8Array(randomBytes(32));
    former.appendRotate(new FixtureDevice({ crypto: relayCrypto, seed }).identity.publicKey);
    const { seq, id } = former.head;
    const predecessor = { kid: former.identity.kid, seq, id };
    const next = new FixtureDevice({ crypto: relayCrypto, seed, genesis: { relayKey: started.key, predecessor } });
    const body = encodeSuccessionRequest({
      request: next.request(),
      genesis: next.chain[0]!,
      rotation: former.chain[seq]!,
    });
    next.read(await post(`${started.url}/v1/devices/${former.kid}/succession`, body), started.key);
    return next;
  }

  it("an owner revokes what the device has become by a rotation", async () => {
    const device = await owned();
    const next = await rotated(device);
    assert.equal((await revoke(next, revocation(next, 0, owner))).status, 200);
  });

  it("a revocation of a stolen key ends the key that the thief rotated it to", async () => {
    const device = await owned();
    const thiefs = await rotated(device);
    assert.equal((await revoke(device, revocation(device, 0, owner))).status, 200);
    thiefs.appendReading(1);
    const answer = await thiefs.send(started.url, 1);
    assert.equal(answer.problem?.code, "KEY_REVOKED", `status ${answer.status}`);
  });

  it("an owner does not lift an operator's hold", async () => {
    const device = await owned();
    started.operate((operator) => operator.decide(device.identity.kid, "hold"));
    device.appendReading(1);
    assert.equal((await device.send(started.url, 1)).problem?.code, "DEVICE_FORKED");
    assert.equal((await revoke(device, revocation(device, 1_000_000, owner))).status, 200);
    assert.equal((await device.send(started.url, 1)).problem?.code, "DEVICE_FORKED");
  });

  it("a held key's succession is told when to come again", async () => {
    const device = await started.device();
    started.operate((operator) => operator.decide(device.identity.kid, "hold"));
    const seed = new Uint8Array(randomBytes(32));
    device.appendRotate(new FixtureDevice({ crypto: relayCrypto, seed }).identity.publicKey);
    const { seq, id } = device.head;
    const next = new FixtureDevice({
      crypto: relayCrypto,
      seed,
      genesis: { predecessor: { kid: device.identity.kid, seq, id } },
    });
    const body = encodeSuccessionRequest({
      request: next.request(),
      genesis: next.chain[0]!,
      rotation: device.chain[seq]!,
    });
    const answer = await post(`${started.url}/v1/devices/${device.kid}/succession`, body);
    assert.equal(answer.problem?.code, "DEVICE_FORKED");
    assert.ok(answer.headers.get("retry-after"), "SPEC: refused with DEVICE_FORKED and Retry-After");
  });

  it("takes nothing of a key that was held back while its records were on their way", async () => {
    const device = await started.device();
    device.appendReading(1);
    const body = Buffer.concat([encodeRequest(device.request()), device.chain[1]!]);
    const { hostname, port } = new URL(started.url);
    const socket = connect(Number(port), hostname);
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write(
      `POST /v1/devices/${device.kid}/records HTTP/1.1\r\nhost: x\r\nconnection: close\r\n` +
        `content-type: application/cbor-seq\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    started.operate((operator) => operator.decide(device.identity.kid, "hold"));
    socket.write(body);
    let answer = "";
    for await (const chunk of socket) answer += String(chunk);
    assert.equal(started.relay.store.head(started.relay.store.deviceByKid(device.identity.kid)!.device).seq, 0);
    assert.match(answer, /DEVICE_FORKED/);
  });

  itOfSqlite("writes nothing after damage was found, a revocation neither", async () => {
    const [device, other] = [await owned(), await started.device()];
    await started.settled();
    const { database } = started.relay.store;
    database
      .prepare("UPDATE records SET bytes = x'00' WHERE device = ?")
      .run(started.relay.store.deviceByKid(other.identity.kid)!.device);
    await get(`${started.url}/v1/devices/${other.kid}/records`);
    device.appendReading(1);
    assert.equal((await device.send(started.url, 1)).status >= 500, true, "records are refused");
    assert.notEqual((await revoke(device, revocation(device, 0, owner))).status, 200);
  });

  function cli(...args: string[]): Promise<{ readonly status: number | null; readonly text: string }> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
      let text = "";
      child.stdout.on("data", (chunk) => (text += chunk));
      child.stderr.on("data", (chunk) => (text += chunk));
      child.on("close", (status) => resolve({ status, text }));
    });
  }

  it("a reason that is too long is told", async () => {
    const device = await started.device({ genesis: { relayKey: started.key } });
    for (const reason of ["x".repeat(65), ""]) {
      const args = ["--from", "1", "--reason", reason, "--data", started.folder];
      const { status, text } = await cli("device", "revoke", device.kid, ...args);
      assert.ok((status === 1 || status === 2) && !text.includes("    at "), `status ${status}: ${text}`);
    }
  });

  it("a data folder that is a file is told", async () => {
    for (const args of [["device", "list"], ["relay-key", "show"], ["enrol"]]) {
      const { status, text } = await cli(...args, "--data", CLI);
      assert.ok(status === 1 && !text.includes("    at "), `${args.join(" ")}, status ${status}: ${text}`);
    }
  });

  it("a database that is busy for longer than a command waits is told", async () => {
    const device = await started.device();
    const other = new Sqlite(pathsOf(started.folder).store);
    other.exec("BEGIN IMMEDIATE");
    try {
      const { status, text } = await cli("device", "hold", device.kid, "--data", started.folder);
      assert.ok(status === 1 && !text.includes("    at "), `status ${status}: ${text}`);
    } finally {
      other.exec("ROLLBACK");
      other.close();
    }
  });

  itOfSqlite("a database that another process brings to the present version meanwhile is opened", async () => {
    const device = await started.device();
    await started.settled();
    await started.relay.close();
    const other = setBackTo(2, pathsOf(started.folder).store);
    other.exec("BEGIN IMMEDIATE");
    for (const step of MIGRATIONS.slice(1)) other.exec(step);
    other.pragma(`user_version = ${SCHEMA_VERSION}`);
    const asked = cli("device", "list", "--data", started.folder);
    await new Promise((resolve) => setTimeout(resolve, 3500));
    other.exec("COMMIT");
    other.close();
    const { status, text } = await asked;
    await started.reopen();
    assert.ok(status === 0 && text.includes(device.kid), `status ${status}: ${text}`);
  });
});
