import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { pino } from "pino";
import { Rank, type VerifierPool } from "../../../hosts/relay/verify/pool.js";
import type { VerifiedBatch } from "../../../hosts/relay/verify/verified.js";
import { pool, StartedRelay } from "../started.js";

const HONEST = { name: "honest", rank: Rank.proven };

/** Less than the 20 s after which the server gives such a client up by itself: it is the stop that has to do it. */
const HANGS_MS = 12_000;

describe("relay: stopping", function () {
  this.timeout(HANGS_MS);

  it("cuts off a client that does not finish, and answers one that does", async () => {
    const started = await StartedRelay.start({ stopRequestsMs: 300 });
    const device = await started.device();
    device.appendReadings(3);
    const { port } = new URL(started.url);
    const hung = connect(Number(port), "127.0.0.1");
    let heard = "";
    hung.on("data", (data) => {
      heard += data.toString();
    });
    const ended = once(hung, "close");
    hung.on("error", () => undefined);
    // The answer to the first request shows that the server has the connection; the second never ends.
    hung.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(hung, "data");
    const body = `POST /v1/devices/${device.kid}/head HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\n`;
    hung.write(`${body}content-length: 100\r\n\r\n\xa1`);
    const answer = await device.send(started.url);
    device.read(answer, started.key);
    await started.relay.close();
    await ended;
    assert.equal(heard.match(/HTTP\/1\.1/g)?.length, 1, heard);
    await started.restart();
    assert.equal(started.relay.log.head.size, 5, "opening, genesis and three readings");
    await started.close();
  });

  it("refuses what is still being verified when its sender was cut off, and touches no closed database", async () => {
    const lines: string[] = [];
    const logger = pino({ level: "error" }, { write: (line: string) => void lines.push(line) });
    const held: (() => void)[] = [];
    const slow = {
      verify: (...[key, sequence, sender]: Parameters<VerifierPool["verify"]>) =>
        new Promise<VerifiedBatch>((resolve) => {
          held.push(() => resolve(pool.verify(key, sequence, sender)));
        }),
    };
    const started = await StartedRelay.start({ stopRequestsMs: 50, logger, pool: slow as VerifierPool });
    const device = await started.device();
    device.appendReadings(3);
    const cut = device.send(started.url).catch((error: Error) => error);
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await started.relay.close();
    assert.ok((await cut) instanceof Error, "the client was cut off");
    for (const resolve of held) resolve();
    // A thread's answer and whatever would follow it have had their turns.
    const [genesis] = device.chain;
    await pool.verify({ kid: device.identity.kid, publicKey: device.identity.publicKey }, genesis!, HONEST);
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(lines, []);
    await started.restart();
    assert.equal(started.relay.store.head(1).seq, 0);
    await started.close();
  });
});
