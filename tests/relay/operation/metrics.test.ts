import assert from "node:assert/strict";
import { createServer } from "node:net";
import { relayCrypto } from "../../../hosts/relay/crypto.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { FixtureDevice } from "../../fixtures/device.js";
import { failureOf, must, ORIGIN, StartedRelay, temporaryFolder } from "../started.js";

describe("relay: metrics", () => {
  let started: StartedRelay;
  let nowMs = Date.UTC(2026, 0, 1);
  before(async () => {
    started = await StartedRelay.start({ metrics: { port: 0 }, nowMs: () => nowMs });
  });
  after(() => started.close());

  /** What is scraped: the figure of each series, by its name with its labels. */
  async function scraped(): Promise<ReadonlyMap<string, number>> {
    const answer = await fetch(started.relay.operation.metricsUrl!);
    assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    const lines = (await answer.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
  }

  it("are not on the public listener, and nothing else is on theirs", async () => {
    assert.equal((await fetch(`${started.url}/metrics`)).status, 404);
    const { metricsUrl } = started.relay.operation;
    assert.match(metricsUrl!, /^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
    assert.equal((await fetch(metricsUrl!.replace("/metrics", "/v1/devices"))).status, 404);
    assert.equal((await fetch(metricsUrl!, { method: "POST" })).status, 405);
  });

  it("count records, refusals, requests and what the log has", async () => {
    const before = await scraped();
    const device = await started.device({}, nowMs);
    device.appendReadings(4);
    device.read(await device.send(started.url), started.key);
    await device.send(started.url);
    await started.settled();
    const after = await scraped();
    const grown = (series: string) => (after.get(series) ?? 0) - (before.get(series) ?? 0);
    // Its genesis among them.
    assert.equal(grown("tallystick_records_accepted_total"), 5);
    assert.equal(grown('tallystick_devices{state="active"}'), 1);
    assert.equal(after.get("tallystick_log_entries"), 6);
    assert.equal(after.get('tallystick_ladder_entries{step="logged"}'), 6);
    assert.equal(after.get("tallystick_unlogged_records"), 0);
    assert.equal(after.get("tallystick_accepting"), 1);
    assert.equal(
      grown('tallystick_http_requests_total{route="/v1/devices/:kid/records",method="POST",status="200"}'),
      2,
    );
    assert.equal(grown('tallystick_http_request_duration_seconds_count{route="/v1/devices/:kid/records"}'), 2);
    assert(after.get("process_resident_memory_bytes")! > 0);
    assert(after.has("nodejs_eventloop_lag_p99_seconds"));
  });

  it("count a fork by its code, and the key that it holds back", async () => {
    const seed = new Uint8Array(32).fill(7);
    const device = await started.device({ seed }, nowMs);
    const twin = new FixtureDevice({ crypto: relayCrypto, seed });
    device.appendReading(1);
    device.read(await device.send(started.url), started.key);
    twin.appendReading(2);
    await twin.send(started.url);
    const after = await scraped();
    assert.equal(after.get('tallystick_records_refused_total{code="CHAIN_FORK"}'), 1);
    assert.equal(after.get("tallystick_devices_held_back"), 1);
    assert.equal(after.get('tallystick_devices{state="forked"}'), 1);
  });

  it("say of devices that are quiet how many there are, and of no one who", async () => {
    const { watch } = started.relay.operation;
    await watch.look();
    const intervalS = [...watch.fleet.quiet(nowMs)][0]!.markIntervalS;
    const before = await scraped();
    assert.equal(before.get('tallystick_devices_quiet{intervals="1"}'), 0);
    nowMs += intervalS * 2500;
    const device = await started.device({}, nowMs);
    await watch.look();
    const after = await scraped();
    assert.equal(after.get("tallystick_devices_watched"), 3);
    assert.equal(after.get('tallystick_devices_quiet{intervals="2"}'), 2, "the third has just come");
    assert.equal(after.get('tallystick_devices_quiet{intervals="3"}'), 0);
    assert.equal(after.get("tallystick_device_quiet_seconds_max"), intervalS * 2.5);
    assert.equal(
      [...after.keys()].some((series) => series.includes(device.kid)),
      false,
    );
  });

  it("have no more series for whatever strangers ask", async () => {
    await fetch(`${started.url}/first/unknown`);
    const before = await scraped();
    for (let i = 0; i < 50; i++) await fetch(`${started.url}/unknown/${i}?x=${i}`);
    await fetch(`${started.url}/v1/devices/00112233445566${"77"}`);
    const after = await scraped();
    const fresh = [...after.keys()].filter((series) => !before.has(series) && series.startsWith("tallystick_http_"));
    assert(
      fresh.every((series) => series.includes('route="/v1/devices/:kid"')),
      fresh.join("\n"),
    );
    assert.equal(
      after.get('tallystick_http_requests_total{route="none",method="GET",status="404"}'),
      before.get('tallystick_http_requests_total{route="none",method="GET",status="404"}')! + 50,
    );
  });

  it("keep a relay from starting where their port is taken, and leave nothing open", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const folder = temporaryFolder();
    must(await Relay.initialise(folder.path, { origin: ORIGIN }));
    for (const [options, setting] of [
      [{ metrics: { port } }, "metrics.port"],
      [{ operator: { port } }, "operator.port"],
      [{ port }, "--port or http.port"],
    ] as const) {
      const { code, detail } = failureOf(await Relay.open({ dataDir: folder.path, ...options }));
      assert.deepEqual([code, detail], ["PORT_TAKEN", `port ${port} of 127.0.0.1, which ${setting} names`]);
    }
    await must(await Relay.open({ dataDir: folder.path })).close();
    taken.close();
    folder.remove();
  });
});
