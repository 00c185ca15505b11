import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fromHex, toHex } from "tallystick/bytes/bytes";
import type { KeyStore } from "tallystick/identity/crypto";
import { portableCrypto } from "tallystick/identity/portable";
import { formatVerifierKey, SignatureType, verifierKey } from "tallystick/log/note";
import { hasLeave, readMaker, readToken } from "tallystick/sync/enrolment";
import { readRelayPins } from "tallystick/sync/relay-pins";
import { fetchPins, provisioningTable } from "../../tools/firmware/provision.js";

const { sha256, ed25519 } = portableCrypto;
const deviceKey = ed25519.publicKey(new Uint8Array(32).fill(1));
const origin = "relay.example/log";

/** What ESP-IDF's generator makes of the table: blobs by name, in one namespace. */
function storeOf(table: string): KeyStore {
  const [head, namespace, ...rows] = table.trimEnd().split("\n");
  assert.equal(head, "key,type,encoding,value");
  assert.equal(namespace, "tallystick,namespace,,");
  const blobs = new Map<string, Uint8Array>();
  for (const row of rows) {
    const [key, type, encoding, value] = row.split(",");
    assert.deepEqual([type, encoding], ["data", "hex2bin"]);
    assert.ok(key!.length <= 15, key);
    blobs.set(key!, fromHex(value!)!);
  }
  return { read: (name) => blobs.get(name), write: () => assert.fail(), delete: () => assert.fail() };
}

describe("provisioning a board", () => {
  it("gives the device pins and token as it reads them", () => {
    const logPublicKey = ed25519.publicKey(new Uint8Array(32).fill(2));
    const logKey = formatVerifierKey(verifierKey(sha256, origin, SignatureType.ed25519, logPublicKey));
    const recoveryKey = ed25519.publicKey(new Uint8Array(32).fill(3));
    const told = { origin, deviceKey, logKey, recoveryKey, generation: 1024 };
    const keys = storeOf(provisioningTable({ ...told, token: "AB12-token" }));
    const pins = readRelayPins(keys, sha256);
    assert.ok(pins.ok, JSON.stringify(pins));
    assert.equal(pins.value.origin, origin);
    assert.deepEqual(pins.value.deviceKey, deviceKey);
    assert.deepEqual([pins.value.recoveryKey, pins.value.generation], [recoveryKey, 1024]);
    assert.deepEqual(readToken(keys), new TextEncoder().encode("AB12-token"));
  });

  it("gives a board whose maker will sign the leave to make its key, and no token", () => {
    const keys = storeOf(provisioningTable({ origin, deviceKey, logKey: "key", awaitMaker: true }));
    assert.equal(readMaker(keys), "awaited");
    assert.equal(readToken(keys), undefined);
    assert.ok(hasLeave(keys));
    const both = storeOf(provisioningTable({ origin, deviceKey, logKey: "key", awaitMaker: true, token: "open" }));
    assert.equal(readMaker(both), "awaited");
    assert.deepEqual(readToken(both), new TextEncoder().encode("open"));
  });

  it("asks the relay who it is, and says what is wrong where it cannot", async () => {
    let answer: object = { origin, device_key: toHex(deviceKey), log_key: "key" };
    const server = createServer((request, response) => {
      response.statusCode = request.url === "/v1/relay" ? 200 : 404;
      response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      assert.deepEqual(await fetchPins(url), { origin, deviceKey, logKey: "key" });
      const recoveryKey = ed25519.publicKey(new Uint8Array(32).fill(3));
      answer = { ...answer, recovery_key: toHex(recoveryKey), generation: 1025 };
      assert.deepEqual(await fetchPins(url), { origin, deviceKey, logKey: "key", recoveryKey, generation: 1025 });
      for (const more of [{ recovery_key: "00" }, { recovery_key: null }, { generation: "1" }]) {
        answer = { origin, device_key: toHex(deviceKey), log_key: "key", ...more };
        await assert.rejects(fetchPins(url), /tells a generation or recovery_key that is none: update this program/);
      }
      answer = { origin, device_key: "00", log_key: "key" };
      await assert.rejects(fetchPins(url), /is no relay: expected origin, device_key and log_key/);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    await assert.rejects(fetchPins(url), /cannot be asked .*; start it, or correct the address/);
  });
});
