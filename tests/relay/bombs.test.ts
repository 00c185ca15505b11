import assert from "node:assert/strict";
import { connect } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import type { FixtureDevice } from "../fixtures/device.js";
import { StartedRelay } from "./started.js";

const BOMB_BYTES = 64 * 1024 * 1024;
const ENCODINGS: Readonly<Record<string, Uint8Array>> = (() => {
  const zeros = new Uint8Array(BOMB_BYTES);
  return {
    gzip: gzipSync(zeros),
    deflate: deflateSync(zeros),
    br: brotliCompressSync(zeros),
    "gzip, gzip": gzipSync(gzipSync(zeros)),
  };
})();
/** Of each route that takes a body. */
const ROUTES = ["", "/head", "/records", "/succession", "/revocation"];

/** A little that unfolds into much: nothing here unfolds anything. */
describe("relay: decompression bombs", () => {
  let started: StartedRelay;
  let device: FixtureDevice;
  before(async () => {
    started = await StartedRelay.start();
    device = await started.device();
  });
  after(() => started.close());

  /** Sends the headers of a request and none of its body, and reads until the answer is whole. */
  function headersAlone(path: string, encoding: string, length: number): Promise<string> {
    const { hostname, port } = new URL(started.url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      let text = "";
      socket.once("error", reject);
      socket.on("data", (part) => {
        text += part;
        if (!text.includes("\r\n\r\n") || !text.endsWith("}")) return;
        socket.destroy();
        resolve(text);
      });
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: relay\r\ncontent-type: application/cbor\r\n` +
          `content-encoding: ${encoding}\r\ncontent-length: ${length}\r\n\r\n`,
      );
    });
  }

  for (const [encoding, bomb] of Object.entries(ENCODINGS))
    it(`${encoding}: refused by each route before a byte of the body has come`, async () => {
      for (const route of ROUTES) {
        const path = route === "" ? "/v1/devices" : `/v1/devices/${device.kid}${route}`;
        const answer = await headersAlone(path, encoding, Math.min(bomb.length, 60_000));
        assert.match(answer, /^HTTP\/1\.1 415 /, path);
        assert.match(answer, /"code":"MEDIA_TYPE_UNKNOWN"/, path);
        assert.match(answer, /\r\naccept-encoding: identity\r\n/i, path);
      }
    });

  it("sent whole, they leave nothing, and the device goes on", async () => {
    for (const [encoding, bomb] of Object.entries(ENCODINGS)) {
      const headers = { "content-type": "application/cbor-seq", "content-encoding": encoding };
      const body = bomb.slice(0, 65_536);
      const answer = await fetch(`${started.url}/v1/devices/${device.kid}/records`, { method: "POST", headers, body });
      assert.equal(answer.status, 415, encoding);
      await answer.arrayBuffer();
    }
    device.appendReading(20);
    assert.equal(device.read(await device.send(started.url), started.key).received?.seq, 1);
  });
});
