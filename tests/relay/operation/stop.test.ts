import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { StartedRelay } from "../started.js";

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
});
