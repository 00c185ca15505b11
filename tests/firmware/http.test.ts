import { strict as assert } from "node:assert";
import { parseOrigin, Reply, requestHeaders } from "../../hosts/esp32/http.js";

describe("the board's HTTP", () => {
  it("takes the relay's origin as host and port, and nothing else", () => {
    assert.deepEqual(parseOrigin("http://192.168.1.20:8080"), { host: "192.168.1.20", port: 8080 });
    assert.deepEqual(parseOrigin("http://relay.lan/"), { host: "relay.lan", port: 80 });
    for (const text of [
      "",
      "relay.lan",
      "https://relay.lan",
      "http://relay.lan/v1",
      "http://relay.lan:0",
      "http://r:65536",
    ])
      assert.equal(parseOrigin(text), undefined, text);
  });

  it("states type and length of a body, and neither where there is none", () => {
    const headers = requestHeaders(new Uint8Array(300));
    assert.equal(headers.get("content-type"), "application/cbor");
    assert.equal(headers.get("content-length"), "300");
    assert.equal(requestHeaders(new Uint8Array(0)).has("content-length"), false);
  });

  it("puts an answer together from its parts", () => {
    const reply = new Reply(4);
    assert.equal(reply.begin(200, new Map([["content-length", "4"]])), undefined);
    assert.equal(reply.append(Uint8Array.of(1, 2)), undefined);
    assert.equal(reply.append(Uint8Array.of(3, 4)), undefined);
    assert.deepEqual(reply.response(), { status: 200, body: Uint8Array.of(1, 2, 3, 4) });
  });

  it("refuses an answer that is too long, by its header before a byte of it, or as it comes", () => {
    assert.match(new Reply(4).begin(200, new Map([["content-length", "5"]])) ?? "", /at most 4 bytes, received 5/);
    const reply = new Reply(4);
    assert.equal(reply.begin(200, new Map()), undefined);
    assert.equal(reply.append(new Uint8Array(4)), undefined);
    assert.match(reply.append(new Uint8Array(1)) ?? "", /received more than 4/);
  });

  it("passes on for how long the relay asks to be left alone", () => {
    const reply = new Reply(0);
    reply.begin(429, new Map([["retry-after", "120"]]));
    assert.deepEqual(reply.response(), { status: 429, body: new Uint8Array(0), retryAfterS: 120 });
    const dated = new Reply(0);
    dated.begin(503, new Map([["retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"]]));
    assert.equal(dated.response().retryAfterS, undefined);
  });
});
