import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { toHex } from "tallystick/bytes/bytes";
import { readBundle } from "tallystick/evidence/bundle";
import { verifyEvidence } from "tallystick/evidence/evidence";
import { anchorBlock, readEvmAnchor } from "tallystick/evidence/evm";
import { readPolicy } from "tallystick/evidence/policy";
import { encodeCbor } from "tallystick/record/cbor";
import { recordId } from "tallystick/record/record";
import { compileAnchor } from "../../hosts/evm/compile.js";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { findAnvil } from "../../hosts/relay/ledger/anvil.js";
import { Relay } from "../../hosts/relay/relay.js";
import { type FixtureDevice, get } from "../fixtures/device.js";
import { failureOf, must, StartedRelay } from "./started.js";

const FINAL_MAX_MS = 50_000;
const LOOK_MS = 200;

describe("relay: up to final", function () {
  this.timeout(120_000);
  let started: StartedRelay;

  before(async function () {
    const anvil = findAnvil();
    if (!anvil.ok) {
      console.log(`      skipped: ${anvil.failure.detail}`);
      this.skip();
    }
    const artifact = must(await compileAnchor());
    started = await StartedRelay.start({ ledger: { kind: "development", artifact } });
  });
  after(() => started?.close());

  async function isFinal(device: FixtureDevice, seq: number): Promise<void> {
    const deadline = Date.now() + FINAL_MAX_MS;
    for (;;) {
      const { final } = device.read(await device.askHead(started.url), started.key);
      if (final && final.seq >= seq) return;
      assert.ok(Date.now() < deadline, `seq ${seq} is not final, ${final ? final.seq : "nothing"} is`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  it("takes a record up the whole ladder, proves it offline, and goes on after a restart", async () => {
    const device = await started.device();
    device.appendReadings(3);
    device.read(await device.send(started.url), started.key);
    await isFinal(device, 3);
    const view = JSON.parse(Buffer.from((await get(`${started.url}/v1/devices/${device.kid}`)).bytes).toString());
    for (const level of ["received", "logged", "submitted", "final"]) assert.equal(view[level].seq, 3, level);
    assert.ok(view.logged.at_ms <= view.submitted.at_ms && view.submitted.at_ms <= view.final.at_ms);

    const { ledger } = JSON.parse(Buffer.from((await get(`${started.url}/v1/relay`)).bytes).toString());
    const id = toHex(recordId(relayCrypto.sha256, device.chain[2]!));
    const { bytes } = await get(`${started.url}/v1/records/${id}/evidence`);
    const [bundled] = must(readBundle(bytes)).anchors;
    const { number } = must(anchorBlock(must(readEvmAnchor(bundled!.anchor))));
    const policy = {
      log: started.relay.identity.logKey,
      devices: [view.did],
      ledgers: [
        {
          kind: "evm",
          chainId: ledger.chain_id,
          contract: ledger.contract,
          block: await blockHash(ledger.rpc_url, number),
        },
      ],
      require: ["signature", "device", "logged", "anchored"],
    };
    const proved = must(
      verifyEvidence(relayCrypto, bytes, must(readPolicy(relayCrypto.sha256, JSON.stringify(policy)))),
    );
    assert.equal(proved.verdict, "proved", JSON.stringify(proved.steps));
    policy.ledgers[0]!.block = `0x${"00".repeat(32)}`;
    const elsewhere = must(readPolicy(relayCrypto.sha256, JSON.stringify(policy)));
    assert.notEqual(must(verifyEvidence(relayCrypto, bytes, elsewhere)).verdict, "proved");

    await started.restart();
    assert.equal(device.read(await device.askHead(started.url), started.key).final?.seq, 3, "final stays final");
    device.appendReadings(2);
    device.read(await device.send(started.url, 4), started.key);
    await isFinal(device, 5);

    await refusesDamagedChain();
  });

  it("keeps the anchors in its evidence where it runs without its ledger, and says at the start that it does", async () => {
    const device = await started.device();
    device.appendReadings(1);
    device.read(await device.send(started.url), started.key);
    await isFinal(device, 1);
    const id = toHex(recordId(relayCrypto.sha256, device.chain[1]!));
    const anchors = async () => {
      const { bytes } = await get(`${started.url}/v1/records/${id}/evidence`);
      return must(readBundle(bytes)).anchors.map(({ anchor }) => toHex(encodeCbor(anchor)));
    };
    const before = await anchors();
    assert.equal(before.length, 1);
    const lines: { readonly event: string; readonly level: number; readonly ledger?: string }[] = [];
    const logger = pino({ messageKey: "event" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    await started.restart({ logger });
    assert.deepEqual(await anchors(), before);
    const said = lines.filter(({ event }) => event === "ledger left out");
    assert.deepEqual(
      said.map(({ level }) => level),
      [40],
    );
    assert.match(said[0]!.ledger ?? "", /^\S+:0x[0-9a-f]{40}$/);
    assert.equal("ledger" in JSON.parse(Buffer.from((await get(`${started.url}/v1/relay`)).bytes).toString()), false);
  });

  /** A chain state that was damaged is never replaced by a new chain: the anchors on it would be gone. */
  async function refusesDamagedChain(): Promise<void> {
    const { folder } = started;
    const ledger = must(await compileAnchor());
    await started.relay.close();
    const files = ["chain.json", "chain.json.kept"].map((name) => join(folder, "ledger", name));
    const states = files.flatMap((file) => {
      try {
        return [{ file, whole: readFileSync(file) }];
      } catch {
        return [];
      }
    });
    assert.ok(states.length > 0, "the chain has a state file");
    for (const { file, whole } of states) truncateSync(file, Math.floor(whole.length / 2));
    const opened = await Relay.open({
      dataDir: folder,
      ...started.where,
      ledger: { kind: "development", artifact: ledger },
    });
    assert.equal(failureOf(opened).code, "LEDGER_STATE_DAMAGED");
    for (const { file, whole } of states) writeFileSync(file, whole);
    started.relay = must(
      await Relay.open({ dataDir: folder, ...started.where, ledger: { kind: "development", artifact: ledger } }),
    );
  }
});

async function blockHash(url: string, number: number): Promise<string> {
  const body = { jsonrpc: "2.0", id: 1, method: "eth_getBlockByNumber", params: [`0x${number.toString(16)}`, false] };
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return ((await response.json()) as { result: { hash: string } }).result.hash;
}
