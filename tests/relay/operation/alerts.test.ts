import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAnchor } from "../../../hosts/evm/compile.js";
import { must, StartedRelay, temporaryFolder } from "../started.js";

const RULES = fileURLToPath(new URL("../../../hosts/relay/alerts.yml", import.meta.url));
const text = readFileSync(RULES, "utf8");
const alerts = [...text.matchAll(/^ {6}- alert: (\w+)\n {8}expr: (.+)$/gm)].map(([, name, expr]) => ({
  name: name!,
  expr: expr!,
}));
/** Words of PromQL that look like metrics. */
const PROMQL = /^(absent|sum|by|increase|delta|rate|histogram_quantile|instance|le|code|step|intervals|final)$/;

/** Half an hour of health, then each trouble. A held-back key is told after an hour only. */
const SERIES: Readonly<Record<string, string>> = {
  'tallystick_accepting{instance="a"}': "1x30 0x95",
  'tallystick_problems_total{instance="a",code="STORE_FAILED"}': "0x30 1x95",
  'tallystick_problems_total{instance="a",code="RELAY_BUSY"}': "0x30 1x95",
  'tallystick_unlogged_age_seconds{instance="a"}': "1x30 130x95",
  'tallystick_log_failing{instance="a"}': "0x30 1x95",
  'tallystick_ladder_waiting_seconds{instance="a",step="final"}': "900x30 3700x95",
  'tallystick_ledger_failing{instance="a"}': "0x30 1x95",
  'tallystick_records_backdated_total{instance="a"}': "0x30 1x95",
  'tallystick_records_refused_total{instance="a",code="CHAIN_FORK"}': "0x30 1x95",
  'tallystick_records_refused_total{instance="a",code="GAP_FALSE"}': "0x30 1x95",
  'tallystick_records_refused_total{instance="a",code="SIGNATURE_INVALID"}': "0x30 20x95",
  'tallystick_devices_held_back{instance="a"}': "0x30 1x95",
  'tallystick_missing_positions{instance="a"}': "5x30 50x95",
  'tallystick_devices_quiet{instance="a",intervals="3"}': "0x30 2x95",
  'tallystick_http_request_duration_seconds_bucket{instance="a",le="1"}': "0+100x30 3000x95",
  'tallystick_http_request_duration_seconds_bucket{instance="a",le="10"}': "0+100x30 3100+100x95",
  'tallystick_http_request_duration_seconds_bucket{instance="a",le="+Inf"}': "0+100x30 3100+100x95",
  'tallystick_webhooks_dropped_total{instance="a",why="full"}': "0x30 1x95",
  'nodejs_eventloop_lag_p99_seconds{instance="a"}': "0.01x30 1x95",
  'process_resident_memory_bytes{instance="a"}': "1e8x30 2e9x95",
};

describe("relay: alert rules", () => {
  let started: StartedRelay;
  let scrape: string;
  before(async () => {
    const webhooks = { url: "https://receiver.example/", secret: new Uint8Array(32) };
    const artifact = must(await compileAnchor());
    started = await StartedRelay.start({ ledger: { kind: "development", artifact }, metrics: { port: 0 }, webhooks });
    await started.device();
    scrape = await (await fetch(started.relay.operation.metricsUrl!)).text();
  });
  after(() => started.close());

  it("are all found in the file", () => {
    assert(alerts.length > 10);
    assert.equal(alerts.length, text.match(/- alert:/g)?.length);
  });

  for (const { name, expr } of alerts)
    it(`${name} asks for what a relay with a ledger tells`, () => {
      const words = expr.replaceAll(/=~?"[^"]*"/g, "").match(/[a-z_][a-z0-9_]*[a-z_]/gi) ?? [];
      const metrics = words.filter((word) => !PROMQL.test(word));
      assert(metrics.length > 0, expr);
      for (const metric of metrics) assert.match(scrape, new RegExp(`^${metric}[ {]`, "m"), `${name}: ${metric}`);
      for (const [, metric, label, value] of expr.matchAll(/([a-z_]+)\{(\w+)="([^"]+)"\}/g))
        assert.match(scrape, new RegExp(`^${metric}\\{.*${label}="${value}"`, "m"), `${name}: ${label} ${value}`);
      for (const [, metric, codes] of expr.matchAll(/([a-z_]+)\{code=~"([^"]+)"\}/g))
        for (const code of codes!.split("|")) assert.match(scrape, new RegExp(`^${metric}\\{code="${code}"`, "m"));
    });

  it("fire where they should and not before, as promtool has it", function () {
    if (spawnSync("promtool", ["--version"]).error) {
      console.log("      skipped: promtool is not here (Debian's package prometheus has it)");
      this.skip();
    }
    const firing = alerts.map(({ name }) => name).filter((name) => name !== "TallystickAbsent");
    const now = (expr: string, eval_time: string, names: readonly string[]) => ({
      expr: `count by (alertname) (${expr})`,
      eval_time,
      exp_samples: names.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
    });
    const tests = [
      {
        interval: "1m",
        input_series: Object.entries(SERIES).map(([series, values]) => ({ series, values })),
        promql_expr_test: [
          now("ALERTS", "30m", []),
          now('last_over_time(ALERTS{alertstate="firing"}[95m])', "125m", firing),
        ],
      },
      {
        interval: "1m",
        input_series: [{ series: "up", values: "0x10" }],
        promql_expr_test: [now('ALERTS{alertstate="firing"}', "10m", ["TallystickAbsent"])],
      },
    ];
    const folder = temporaryFolder();
    const path = join(folder.path, "tests.yml");
    writeFileSync(path, JSON.stringify({ rule_files: [RULES], evaluation_interval: "1m", tests }));
    for (const args of [
      ["check", "rules", RULES],
      ["test", "rules", path],
    ]) {
      const { status, stdout, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
      assert.equal(status, 0, stdout + stderr);
    }
    folder.remove();
  });

  it("stand on an exposition that promtool accepts", function () {
    if (spawnSync("promtool", ["--version"]).error) {
      console.log("      skipped: promtool is not here (Debian's package prometheus has it)");
      this.skip();
    }
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: scrape, encoding: "utf8" });
    const complaints = (stdout + stderr).split("\n").filter((line) => line.startsWith("tallystick_"));
    assert.deepEqual(complaints, [], stdout + stderr);
    assert(status === 0 || status === 3, `${status}: ${stderr}`);
  });
});
