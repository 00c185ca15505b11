import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import type { RelayEvent } from "../../../hosts/relay/events.js";
import { Metrics } from "../../../hosts/relay/metrics/metrics.js";
import { readSecret, signatureHeaders } from "../../../hosts/relay/webhooks/signature.js";
import {
  ATTEMPTS_MAX,
  CONCURRENCY_MAX,
  QUEUE_MAX,
  type WebhookSettings,
  Webhooks,
} from "../../../hosts/relay/webhooks/webhooks.js";
import { must, temporaryFolder } from "../started.js";
import { type Receiver, startReceiver } from "./receiver.js";

const SECRET = new Uint8Array(randomBytes(32));
const KID = "0011223344556677";

describe("webhooks", () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function receiver(...options: Parameters<typeof startReceiver>): Promise<Receiver> {
    const started = await startReceiver(...options);
    open.push(started);
    return started;
  }

  /** Webhooks to a receiver on loopback, with what they log. */
  function webhooks(port: number, settings: Partial<WebhookSettings> = {}, nowMs: () => number = Date.now) {
    const metrics = new Metrics();
    const lines: Record<string, unknown>[] = [];
    const heard: { readonly event: string; readonly resolve: () => void }[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        const line = JSON.parse(chunk.toString());
        lines.push(line);
        for (const each of heard) if (each.event === line.event) each.resolve();
        done();
      },
    });
    const opened = must(
      Webhooks.open({
        origin: "relay.example/test",
        nowMs,
        metrics,
        logger: pino({ messageKey: "event" }, sink),
        tenantOf: (kid) => (kid === KID ? "north" : "south"),
        settings: {
          url: `http://receiver.example:${port}/hook?x=1`,
          secret: SECRET,
          allowInsecure: true,
          allowAddresses: ["127.0.0.1"],
          resolve: async () => ["127.0.0.1"],
          backoffMs: () => 0,
          ...settings,
        },
      }),
    );
    open.push(opened);
    const logged = (event: string): Promise<void> => new Promise((resolve) => heard.push({ event, resolve }));
    const figure = async (series: string): Promise<number> => {
      const line = (await metrics.scrape()).text.split("\n").find((each) => each.startsWith(`${series} `));
      return Number(line?.split(" ").at(-1));
    };
    return { opened, lines, logged, figure };
  }

  const silence = (kid: string): RelayEvent => ({ event: "silence", kid, quietS: 100, markIntervalS: 30 });

  it("sign as Standard Webhooks does", () => {
    // The specification's own example.
    const secret = readSecret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")!;
    const body = '{"email":"test@example.com","username":"test_user"}';
    const headers = signatureHeaders(secret, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553, body);
    assert.equal(headers["webhook-signature"], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    for (const text of [
      "",
      "whsec_",
      "whsec_AAAA",
      `whsec_${"!".repeat(44)}`,
      "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
      `whsec_${"A".repeat(88)}`,
    ])
      assert.equal(readSecret(text), undefined, text);
  });

  it("tell what was found, where and whose, over the name's address and with the name", async () => {
    const there = await receiver();
    let asked = 0;
    const { opened, logged, figure } = webhooks(there.port, {
      resolve: async (host) => {
        assert.equal(host, "receiver.example");
        asked++;
        return ["127.0.0.1"];
      },
    });
    const sent = logged("webhook sent");
    const members = { held: "aa", received: "bb", seq: 7 };
    opened.take({ event: "refused", kid: KID, code: "CHAIN_FORK", detail: "x", members });
    await sent;
    const [{ headers, url, body } = assert.fail()] = there.received;
    assert.equal(url, "/hook?x=1");
    assert.equal(headers.host, `receiver.example:${there.port}`);
    assert.equal(headers["content-type"], "application/json");
    const message = JSON.parse(body);
    assert.match(message.time, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual(
      { ...message, time: "" },
      {
        id: headers["webhook-id"],
        event: "fork",
        time: "",
        origin: "relay.example/test",
        kid: KID,
        details: { code: "CHAIN_FORK", ...members },
      },
    );
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const expected = `v1,${createHmac("sha256", SECRET).update(signed).digest("base64")}`;
    assert.equal(headers["webhook-signature"], expected);
    assert.equal(asked, 1, "who connects asks nobody again");
    assert.equal(await figure("tallystick_webhooks_sent_total"), 1);
    assert.equal(await figure("tallystick_webhooks_waiting"), 0);
  });

  it("tell seven things and no others", async () => {
    const there = await receiver();
    const { opened } = webhooks(there.port);
    opened.take({ event: "records", kid: KID, stored: 1, repeated: 0 });
    opened.take({ event: "refused", kid: KID, code: "CHAIN_GAP", detail: "x" });
    opened.take(silence(KID));
    opened.take({ event: "gap", kid: KID, missing: 3 });
    opened.take({ event: "refused", kid: KID, code: "SIGNATURE_INVALID", detail: "x" });
    opened.take({ event: "alert", kid: KID, seq: 7, id: "aa", finding: "stuck", quantity: "temperature" });
    opened.take({ event: "log-stuck", waitingS: 200 });
    opened.take({ event: "ledger-stuck", waitingS: 4000, code: "LEDGER_UNREACHABLE" });
    opened.take({ event: "refused", kid: KID, code: "CHAIN_FORK", detail: "x" });
    const found = { records: 2, code: "RECORD_BACKDATED", detail: "x", seq: 7, id: "00" } as const;
    opened.take({ event: "backdated", kid: KID, ...found });
    await there.came(8);
    await opened.close();
    const events = there.received.map(({ body }) => JSON.parse(body).event);
    assert.deepEqual(events.sort(), [
      "alert",
      "backdated",
      "bad-signature",
      "fork",
      "gap",
      "ledger-stuck",
      "log-stuck",
      "silence",
    ]);
  });

  it("tell a tenant's receiver of its devices and of nothing else", async () => {
    const there = await receiver();
    const { opened } = webhooks(there.port, { tenant: "north" });
    opened.take(silence("ffeeddccbbaa9988"));
    opened.take({ event: "log-stuck", waitingS: 200 });
    opened.take(silence(KID));
    await there.came(1);
    await opened.close();
    const kids = there.received.map(({ body }) => JSON.parse(body).kid);
    assert.deepEqual(kids, [KID]);
  });

  it("tell the same of the same device once in a while, with how often it came", async () => {
    const there = await receiver();
    let nowMs = 1_700_000_000_000;
    const { opened } = webhooks(there.port, { repeatAfterS: 60 }, () => nowMs);
    for (let i = 0; i < 5; i++) opened.take(silence(KID));
    opened.take(silence("ff".repeat(8)));
    await there.came(2);
    nowMs += 60_000;
    opened.take(silence(KID));
    await there.came(3);
    assert.deepEqual(
      there.received.map(({ body }) => JSON.parse(body).details.repeated),
      [undefined, undefined, 4],
    );
  });

  it("go to nobody whose address has become one that may not be reached", async () => {
    const [there, inside] = [await receiver({ host: "127.0.0.2" }), await receiver()];
    const answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["::1"], ["127.0.0.2"]];
    const asked: string[][] = [];
    const { opened, lines } = webhooks(there.port, {
      allowAddresses: ["127.0.0.2"],
      resolve: async () => {
        asked.push(answers[asked.length]!);
        return asked.at(-1)!;
      },
    });
    opened.take(silence(KID));
    await there.came(1);
    opened.take({ event: "gap", kid: KID, missing: 1 });
    await there.came(2);
    assert.deepEqual(asked, answers);
    assert.equal(inside.connections(), 0);
    const failed = lines.filter(({ event }) => event === "webhook failed").map(({ code }) => code);
    assert.deepEqual(failed, ["WEBHOOK_TARGET_REFUSED", "WEBHOOK_TARGET_REFUSED", "WEBHOOK_TARGET_REFUSED"]);
    assert.equal(there.received[0]!.headers["webhook-id"] === there.received[1]!.headers["webhook-id"], false);
  });

  it("follow no redirect, and come again with the same id", async () => {
    const inside = await receiver();
    let answered = 0;
    const there = await receiver({
      answer: (_request, response) => {
        const status = [307, 302, 500, 204][answered++]!;
        response.writeHead(status, { location: `http://127.0.0.1:${inside.port}/` }).end();
      },
    });
    const { opened, logged, figure } = webhooks(there.port);
    const sent = logged("webhook sent");
    opened.take(silence(KID));
    await sent;
    assert.equal(inside.connections(), 0);
    assert.equal(there.received.length, 4);
    assert.equal(new Set(there.received.map(({ headers }) => headers["webhook-id"])).size, 1);
    assert.equal(await figure("tallystick_webhooks_failed_total"), 3);
  });

  it("give a message up after its attempts, and say so", async () => {
    const there = await receiver({ answer: (_request, response) => response.writeHead(500).end() });
    const { opened, logged, figure, lines } = webhooks(there.port);
    const dropped = logged("webhook dropped");
    opened.take(silence(KID));
    await dropped;
    assert.equal(there.received.length, ATTEMPTS_MAX);
    assert.equal(await figure('tallystick_webhooks_dropped_total{why="attempts"}'), 1);
    const { why, kid, code } = lines.find(({ event }) => event === "webhook dropped")!;
    assert.deepEqual({ why, kid, code }, { why: "attempts", kid: KID, code: "WEBHOOK_FAILED" });
  });

  it("bound what waits and what is under way, whatever happens", async () => {
    const there = await receiver({ answer: () => undefined });
    const { opened, figure } = webhooks(there.port);
    for (let i = 0; i < QUEUE_MAX + 44; i++) opened.take(silence(i.toString(16).padStart(16, "0")));
    await there.came(CONCURRENCY_MAX);
    assert.equal(await figure("tallystick_webhooks_waiting"), QUEUE_MAX);
    assert.equal(await figure('tallystick_webhooks_dropped_total{why="full"}'), 44);
    await opened.close();
    assert.equal(there.together(), CONCURRENCY_MAX);
    assert.equal(there.received.length, CONCURRENCY_MAX, "what waited was not sent");
    assert.equal(await figure('tallystick_webhooks_dropped_total{why="stopped"}'), QUEUE_MAX);
    opened.take(silence(KID));
    assert.equal(await figure("tallystick_webhooks_waiting"), 0);
  });

  it("wait for no answer longer than its time, and read no more of it than its bytes", async () => {
    let answered = 0;
    let cut = (): void => undefined;
    const wasCut = new Promise<void>((resolve) => {
      cut = resolve;
    });
    const there = await receiver({
      answer: (_request, response) => {
        if (answered++ === 0) return;
        response.writeHead(200);
        response.on("close", cut);
        const more = (): void => {
          while (!response.destroyed && response.write("x".repeat(65_536)));
        };
        response.on("drain", more);
        more();
      },
    });
    const { opened, logged, lines } = webhooks(there.port, { timeoutMs: 500 });
    const sent = logged("webhook sent");
    opened.take(silence(KID));
    await sent;
    await wasCut;
    const failed = lines.filter(({ event }) => event === "webhook failed").map(({ detail }) => detail);
    assert.deepEqual(failed, ["no answer within 500 ms"]);
  });

  it("stop although a name's lookup or an answer never ends", async () => {
    const there = await receiver({ answer: () => undefined });
    const lookups = webhooks(there.port, { resolve: () => new Promise(() => undefined) });
    const answers = webhooks(there.port);
    lookups.opened.take(silence(KID));
    answers.opened.take(silence(KID));
    await there.came(1);
    await lookups.opened.close();
    await answers.opened.close();
    assert.equal(await lookups.figure('tallystick_webhooks_dropped_total{why="stopped"}'), 1);
    assert.equal(await answers.figure('tallystick_webhooks_dropped_total{why="stopped"}'), 1);
  });

  it("trust over TLS the name that was meant, at the address that was looked up", async function () {
    const folder = temporaryFolder();
    open.push({ close: async () => folder.remove() });
    const [key, cert] = [join(folder.path, "key.pem"), join(folder.path, "cert.pem")];
    const made = spawnSync("openssl", [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
      ],
      ...["-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example", "-days", "30"],
    ]);
    if (made.error) {
      console.log("      skipped: openssl is not here");
      this.skip();
    }
    assert.equal(made.status, 0, made.stderr.toString());
    const ca = readFileSync(cert, "utf8");
    const there = await receiver({ tls: { key: readFileSync(key, "utf8"), cert: ca } });
    const rules = { allowInsecure: false, ca };
    const trusted = webhooks(there.port, { ...rules, url: `https://receiver.example:${there.port}/` });
    const sent = trusted.logged("webhook sent");
    trusted.opened.take(silence(KID));
    await sent;
    for (const settings of [
      { url: `https://other.example:${there.port}/` },
      { url: `https://127.0.0.1:${there.port}/` },
      { url: `https://receiver.example:${there.port}/`, ca: "" },
    ]) {
      const refused = webhooks(there.port, { ...rules, ...settings });
      const dropped = refused.logged("webhook dropped");
      refused.opened.take(silence(KID));
      await dropped;
      const { detail } = refused.lines.find(({ event }) => event === "webhook failed")!;
      assert.match(String(detail), /^(ERR_TLS_CERT_ALTNAME_INVALID|DEPTH_ZERO_SELF_SIGNED_CERT)$/);
    }
    assert.equal(there.received.length, 1);
  });
});
