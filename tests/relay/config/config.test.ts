import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import {
  CONFIG_MAX_BYTES,
  type ConfigInput,
  environmentName,
  loadConfig,
  settings,
} from "../../../hosts/relay/config/config.js";
import { exampleConfig } from "../../../hosts/relay/config/example.js";
import { runOptionsOf } from "../../../hosts/relay/config/options.js";
import { placesOf } from "../../../hosts/relay/config/places.js";
import { expectedOf } from "../../../hosts/relay/config/setting.js";
import { SETTINGS } from "../../../hosts/relay/config/settings.js";
import { temporaryFolder } from "../started.js";

const SHIPPED = fileURLToPath(new URL("../../../hosts/relay/relay.toml", import.meta.url));
const DID = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";

describe("relay: configuration", () => {
  const folder = temporaryFolder();
  after(() => folder.remove());
  const path = join(folder.path, "relay.toml");

  /** What is complained of, each as `code detail`, the file's path without its folder. */
  function complaints(toml: string | Uint8Array, input: Omit<ConfigInput, "path"> = {}): string[] {
    writeFileSync(path, toml);
    const loaded = loadConfig({ path, ...input });
    return loaded.ok
      ? []
      : loaded.failures.map(({ code, detail }) => `${code} ${detail.replaceAll(`${folder.path}/`, "")}`);
  }

  function load(toml: string, input: Omit<ConfigInput, "path"> = {}) {
    writeFileSync(path, toml);
    const loaded = loadConfig({ path, ...input });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.failures));
    return loaded.value;
  }

  it("has a default or an absence for every setting, and needs no file", () => {
    const loaded = loadConfig({});
    assert(loaded.ok);
    assert.equal(loaded.value.config.http.host, "127.0.0.1");
    assert.equal(loaded.value.config.relay.origin, undefined);
    assert(loaded.value.stated.length > 10);
    for (const { source } of loaded.value.stated) assert.equal(source, "default");
  });

  it("takes each value from the first place that has one", () => {
    const toml = "[http]\nhost = '127.0.0.2'\nport = 1\n[log]\nlevel = 'warn'\n";
    const { config, stated } = load(toml, {
      environment: { TALLYSTICK_HTTP_PORT: "2", TALLYSTICK_LOG_LEVEL: "debug", HOME: "/" },
      arguments: new Map([["log.level", { value: "error", option: "--log" }]]),
    });
    const sources = Object.fromEntries(stated.map(({ section, key, source }) => [`${section}.${key}`, source]));
    assert.deepEqual([config.http.host, sources["http.host"]], ["127.0.0.2", `${path}:2`]);
    assert.deepEqual([config.http.port, sources["http.port"]], [2, "TALLYSTICK_HTTP_PORT"]);
    assert.deepEqual([config.log.level, sources["log.level"]], ["error", "--log"]);
    assert.deepEqual([config.ledger.kind, sources["ledger.kind"]], ["none", "default"]);
  });

  it("reads every type from the environment", () => {
    const environment = {
      TALLYSTICK_RELAY_INITIALISE: "true",
      TALLYSTICK_ENROLMENT_MAKERS: ` ${DID} , ${DID}`,
      TALLYSTICK_LIMITS_CHECKPOINT_INTERVAL_MS: "250",
    };
    const { config } = load("", { environment });
    const { initialise, makers, batchIntervalMs } = runOptionsOf(config);
    assert.deepEqual([initialise, batchIntervalMs, makers.map(({ length }) => length)], [true, 250, [32, 32]]);
  });

  it("refuses what it does not know, and says what may have been meant", () => {
    assert.deepEqual(complaints("[http]\nprot = 80\n\n[webhoks]\nurl = 1\n[relay]\nport = 1\nxyzzyplugh = 1\n"), [
      "CONFIG_UNKNOWN_KEY relay.toml:2:1: http.prot; did you mean http.port?",
      `CONFIG_UNKNOWN_KEY relay.toml:4:1: webhoks${Object.hasOwn(SETTINGS, "webhooks") ? "; did you mean webhooks?" : ""}`,
      "CONFIG_UNKNOWN_KEY relay.toml:7:1: relay.port; did you mean http.port?",
      "CONFIG_UNKNOWN_KEY relay.toml:8:1: relay.xyzzyplugh",
    ]);
    assert.deepEqual(complaints("", { environment: { TALLYSTICK_HTTP_PROT: "1", TALLYSTICK_OTHER: "1", PATH: "" } }), [
      "CONFIG_UNKNOWN_KEY the environment variable TALLYSTICK_HTTP_PROT; did you mean TALLYSTICK_HTTP_PORT?",
    ]);
    const strange = { TALLYSTICK_HTP_PORT: "1", TALLYSTICK_XYZZYPLUGH: "1", TALLY_HTTP: "1" };
    assert.deepEqual(load("", { environment: strange }).unknownVariables, [
      { variable: "TALLYSTICK_HTP_PORT", nearest: "TALLYSTICK_HTTP_PORT" },
      { variable: "TALLYSTICK_XYZZYPLUGH" },
    ]);
    assert.deepEqual(complaints("__proto__ = 1\n[http]\nconstructor = 1\n"), [
      "CONFIG_UNKNOWN_KEY relay.toml:1:1: __proto__",
      "CONFIG_UNKNOWN_KEY relay.toml:3:1: http.constructor",
    ]);
  });

  it("refuses what the start would: a name that cannot be one, more witnesses than are asked, what is no text", () => {
    const toml = `[relay]\norigin = "a b"\ndata = "a\\u0000b"\n[http]\nhost = "0.0.0.0\\nx"\n[witnesses]\nwanted = 3\n`;
    const places = complaints(toml).map((line) => line.slice(0, line.indexOf(": expected")));
    assert.deepEqual(places.sort(), [
      "CONFIG_INVALID relay.toml:2:1: relay.origin",
      "CONFIG_INVALID relay.toml:3:1: relay.data",
      "CONFIG_INVALID relay.toml:5:1: http.host",
    ]);
    assert.match(
      complaints("[witnesses]\nwanted = 3\n")[0]!,
      /witnesses\.wanted: expected at most the 0 that are asked/,
    );
  });

  it("says of a wrong value where it stands, what was expected and what came", () => {
    const toml = `[http]\nport = 65536\nhost = ""\n[log]\nlevel = "loud"\n[enrolment]\nopen = "yes"\nmakers = ["did:key:z1"]\n`;
    assert.deepEqual(complaints(toml), [
      'CONFIG_INVALID relay.toml:3:1: http.host: expected text that is not blank, received ""',
      "CONFIG_INVALID relay.toml:2:1: http.port: expected a whole number from 0 to 65535, received 65536",
      'CONFIG_INVALID relay.toml:5:1: log.level: expected one of "fatal", "error", "warn", "info", "debug", "silent", received "loud"',
      'CONFIG_INVALID relay.toml:8:1: enrolment.makers: expected did:key:z… of an Ed25519 key, as the command prints it that made it, received "did:key:z1"',
      'CONFIG_INVALID relay.toml:7:1: enrolment.open: expected true or false, received "yes"',
    ]);
    assert.deepEqual(complaints("http = 3\n"), [
      "CONFIG_INVALID relay.toml:1:1: http: expected a section, [http], received a value",
    ]);
    assert.deepEqual(complaints("", { environment: { TALLYSTICK_HTTP_PORT: "1e3" } }), [
      'CONFIG_INVALID TALLYSTICK_HTTP_PORT: http.port: expected a whole number from 0 to 65535, received "1e3"',
    ]);
    for (const word of ["inf", "-inf", "nan"])
      assert.deepEqual(complaints(`[http]\nport = ${word}\n`), [
        `CONFIG_INVALID relay.toml:2:1: http.port: expected a whole number from 0 to 65535, received ${word}`,
      ]);
    assert.deepEqual(complaints("[http]\nport = 1.5\n[log]\nlevel = 2026-01-01\n").length, 2);
  });

  it("holds settings against each other", () => {
    assert.deepEqual(complaints('[ledger]\nkind = "evm"\n'), [
      `CONFIG_INVALID relay.toml:1:1: ledger.rpc_url: expected a node's URL, since ledger.kind is "evm", received nothing`,
    ]);
  });

  it("refuses listeners that are in each other's way, and an origin with a scheme", () => {
    const ports = (http: string, more: string) => complaints(`[http]\nport = 8080\n${http}\n${more}`);
    assert.deepEqual(ports("", "[metrics]\nport = 8080\n[operator]\nport = 8080\n"), [
      "CONFIG_INVALID relay.toml:7:1: operator.port: expected another port than http.port, or none, received 8080 for both",
      "CONFIG_INVALID relay.toml:5:1: metrics.port: expected another port than http.port, received 8080 for both",
    ]);
    assert.equal(ports('host = "0.0.0.0"', "[metrics]\nport = 8080\n").length, 1);
    assert.match(ports("", "[metrics]\nport = 9\n[operator]\nport = 9\n")[0]!, /metrics\.port: .* than operator\.port/);
    assert.deepEqual(ports('host = "127.0.0.2"', "[metrics]\nport = 8080\n"), []);
    assert.deepEqual(complaints("[metrics]\nport = 0\n[operator]\nport = 0\n"), []);
    assert.match(
      complaints('[relay]\norigin = "https://relay.example/attic"\n')[0]!,
      /relay\.origin: .*without a scheme/,
    );
  });

  it("refuses an interval of checkpoints by which the log would break its promise", () => {
    const of = (logWithinS: number, intervalMs: number) =>
      `[relay]\nlog_within_s = ${logWithinS}\n[limits]\ncheckpoint_interval_ms = ${intervalMs}\n`;
    assert.deepEqual(complaints(of(1, 3_600_000)), [
      "CONFIG_INVALID relay.toml:4:1: limits.checkpoint_interval_ms: expected at most 500, half of the 1 s of relay.log_within_s, " +
        "within which each acknowledgement promises a checkpoint, received 3600000",
    ]);
    assert.equal(complaints(of(600, 300_001)).length, 1);
    assert.equal(load(of(600, 300_000)).config.limits.checkpoint_interval_ms, 300_000);
  });

  it("ends at once where there is no TOML to read, and shows nothing of it", () => {
    assert.deepEqual(complaints('[ledger]\nrpc_url = "https://token@x"x\n'), [
      "CONFIG_MALFORMED relay.toml:2:28: each key-value declaration must be followed by an end-of-line",
    ]);
    assert.match(complaints("[a]\n[a]\n")[0]!, /^CONFIG_MALFORMED relay.toml:2:/);
    assert.match(complaints(`a = ${"[".repeat(100_000)}`)[0]!, /^CONFIG_MALFORMED relay.toml:1:/);
    assert.deepEqual(complaints(Uint8Array.of(0xff)), ["CONFIG_UNREADABLE relay.toml: expected UTF-8"]);
    assert.deepEqual(complaints("#".repeat(CONFIG_MAX_BYTES)), []);
    assert.deepEqual(complaints("#".repeat(CONFIG_MAX_BYTES + 1)), [
      "CONFIG_UNREADABLE relay.toml: expected at most 1048576 bytes",
    ]);
    for (const absent of [join(folder.path, "absent.toml"), folder.path]) {
      const loaded = loadConfig({ path: absent });
      assert(!loaded.ok && loaded.failures[0].code === "CONFIG_UNREADABLE");
    }
  });

  it("takes a secret from a file or from the environment, and shows it nowhere", () => {
    mkdirSync(join(folder.path, "secrets"), { recursive: true });
    writeFileSync(join(folder.path, "secrets/rpc"), "https://node.example/v3/3b1f\n");
    const fromFile = load('[ledger]\nrpc_url_file = "secrets/rpc"\n');
    assert.equal(fromFile.config.ledger.rpc_url, "https://node.example/v3/3b1f");
    const stated = fromFile.stated.find(({ key }) => key === "rpc_url");
    assert.deepEqual([stated?.shown, stated?.source], ['"https://node.example/…"', `${path}:2 (secrets/rpc)`]);
    const fromEnvironment = load("", { environment: { TALLYSTICK_LEDGER_RPC_URL: "https://u:p@node.example/" } });
    assert.equal(fromEnvironment.stated.find(({ key }) => key === "rpc_url")?.shown, '"https://node.example/…"');
    assert.deepEqual(complaints('[ledger]\nrpc_url = "ftp://user:secret@node.example/x"\n'), [
      "CONFIG_INVALID relay.toml:2:1: ledger.rpc_url: expected a URL that begins with http:// or https://, received (not shown)",
    ]);
    assert.deepEqual(complaints('[ledger]\nrpc_url = "https://a"\nrpc_url_file = "secrets/rpc"\n'), [
      "CONFIG_INVALID relay.toml:2:1: ledger.rpc_url: expected either rpc_url or rpc_url_file, received both",
    ]);
    const named = load("", { environment: { TALLYSTICK_LEDGER_RPC_URL_FILE: join(folder.path, "secrets/rpc") } });
    assert.equal(named.config.ledger.rpc_url, "https://node.example/v3/3b1f");
    assert.match(
      complaints('[ledger]\nrpc_url_file = "absent"\n')[0]!,
      /^CONFIG_SECRET_UNREADABLE relay.toml:2:1: ENOENT/,
    );
  });

  it("shows of no address more than scheme and host, whether it can be used or not", () => {
    const wrong = [
      "mqtt://relay:sekret@host",
      "mqtts://relay:se/sekret@host",
      "http://a:sekret@h=foo",
      "http://h/sekret=foo",
      "https://u:sekret@host/x",
      "https://host.example/?token=sekret",
      "https://host.example/#sekret",
      "postgres://relay:sekret@host",
      "postgres://relay:sekret@host/tallystick",
      "postgres://relay:1/sekret@host/tallystick",
      "foo://sekret",
      "sekret:host",
      "sekret",
    ];
    const addresses = [...settings()].filter(
      ([, key, setting]) => key.includes("url") || `${setting.example} ${expectedOf(setting)}`.match(/url|:\/\//i),
    );
    const names = addresses.map(([section, key]) => `${section}.${key}`);
    assert.deepEqual(names, [
      "relay.origin",
      "store.url",
      "mqtt.url",
      "ledger.rpc_url",
      "witnesses.asked",
      "webhooks.url",
    ]);
    for (const [section, key, { schema }] of addresses)
      for (const text of wrong) {
        // What is no URL is a name, and shown.
        if (key === "origin" && !text.includes("://")) continue;
        const isList = (schema as { type?: string }).type === "array";
        const value = isList ? [text] : text;
        const input = { arguments: new Map([[`${section}.${key}`, { value, option: "--x" }]]) };
        for (const toml of [stringify({ [section]: { [key]: value } }), stringify({ [section]: { [key]: [value] } })]) {
          writeFileSync(path, toml);
          for (const loaded of [loadConfig({ path }), loadConfig({ path, ...input }), loadConfig(input)]) {
            const told = loaded.ok ? loaded.value.stated.map((stated) => stated.shown) : loaded.failures;
            assert.doesNotMatch(JSON.stringify(told), /sekret/, `${section}.${key} = ${JSON.stringify(value)}`);
          }
        }
      }
    assert.deepEqual(complaints('[mqtt]\nurl = "mqtt://relay:sekret@host"\n'), [
      'CONFIG_INVALID relay.toml:2:1: mqtt.url: expected mqtt://host:port or mqtts://host:port, without name, password or path, received "mqtt://host/…"',
    ]);
  });

  it("takes webhooks with a signing secret and to a public address only", () => {
    const secret = `whsec_${"A".repeat(43)}=`;
    writeFileSync(join(folder.path, "secrets/webhook"), `${secret}\n`);
    const hook = (url: string, more = "") => `[webhooks]\nurl = "${url}"\nsecret_file = "secrets/webhook"\n${more}`;
    const { webhooks } = runOptionsOf(load(hook("https://receiver.example/T0KEN")).config);
    assert.deepEqual([webhooks?.url, webhooks?.secret.length], ["https://receiver.example/T0KEN", 32]);
    assert(
      !JSON.stringify(load(hook("https://receiver.example/T0KEN")).stated.map(({ shown }) => shown)).match(
        /T0KEN|AAAA/,
      ),
    );
    assert.deepEqual(complaints(hook("https://169.254.169.254/T0KEN")), [
      "CONFIG_INVALID relay.toml:2:1: webhooks.url: 169.254.169.254 is link-local, and clouds' metadata (RFC 3927)",
    ]);
    assert.deepEqual(
      complaints(hook("http://10.0.0.1/", 'allow_insecure = true\nallow_addresses = ["10.0.0.0/8"]\n')),
      [],
    );
    assert.deepEqual(complaints('[webhooks]\nurl = "https://receiver.example/"\n'), [
      "CONFIG_INVALID relay.toml:1:1: webhooks.secret: expected a secret to sign with, since webhooks.url is there, received nothing",
    ]);
    assert.deepEqual(complaints(`[webhooks]\nsecret = "${secret}"\n`), [
      "CONFIG_SECRET_INLINE relay.toml:2:1: webhooks.secret: expected webhooks.secret_file, or TALLYSTICK_WEBHOOKS_SECRET",
    ]);
    assert.deepEqual(complaints("", { environment: { TALLYSTICK_WEBHOOKS_SECRET: "hunter2" } }), [
      "CONFIG_INVALID TALLYSTICK_WEBHOOKS_SECRET: webhooks.secret: expected whsec_ and base64, received (not shown)",
    ]);
  });

  it("is shipped with an example that names every setting and its default", () => {
    const text = readFileSync(SHIPPED, "utf8");
    assert.equal(text, exampleConfig(), "tallystick check-config --example > hosts/relay/relay.toml");
    const loaded = load(text);
    const defaults = loadConfig({});
    assert(defaults.ok);
    assert.deepEqual(loaded.config, defaults.value.config);
    for (const { section, key, value, source } of loaded.stated)
      assert.equal(source === "default", value === undefined, `${section}.${key} stands there with its default`);
    // What has no default stands there as an example, and would be taken.
    const uncommented = text.replace(/^# (?=[a-z_]+ = )/gm, "");
    const tables = parse(uncommented) as Record<string, Record<string, unknown>>;
    for (const [section, key, { secret }] of settings())
      assert(
        tables[section] && (key in tables[section] || (secret && `${key}_file` in tables[section])),
        `${section}.${key}`,
      );
    assert.deepEqual(
      complaints(uncommented).filter((complaint) => !complaint.startsWith("CONFIG_SECRET_UNREADABLE")),
      [],
    );
  });

  it("has a name in the environment for every setting, each its own", () => {
    const names = [...settings()].map(([section, key]) => environmentName(section, key));
    assert.equal(new Set(names).size, names.length);
    for (const name of names) assert.match(name, /^TALLYSTICK_[A-Z]+_[A-Z0-9_]+$/);
  });

  it("finds where keys stand, whatever stands around them", () => {
    const text = `# [a] x = 1
title = """one ""quoted"" [b]
x = 2 \\""""
list = [ # ] comment
  "]", '\\', [ 'x' ],
]
 [ a . "b c" ]   # [d]
"k" = 1
  e.f = '''
g = 3''''
inline = { h = 1 }
[[many]]
i = 1
`;
    parse(text);
    const places = Object.fromEntries(
      [...placesOf(text)].map(([name, { line, column }]) => [name, `${line}:${column}`]),
    );
    assert.deepEqual(places, {
      title: "2:1",
      list: "4:1",
      a: "7:2",
      "a.b c": "7:2",
      "a.b c.k": "8:1",
      "a.b c.e": "9:3",
      "a.b c.e.f": "9:3",
      "a.b c.inline": "11:1",
      many: "12:1",
      "many.i": "13:1",
    });
  });

  it("finds every key of what a TOML writer writes, on the line where it stands", () => {
    const key = fc.stringMatching(/^[a-z_]{1,8}$/);
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string()));
    const document = fc.dictionary(key, fc.dictionary(key, value, { minKeys: 1 }));
    fc.assert(
      fc.property(document, (tables) => {
        const text = stringify(tables);
        const places = placesOf(text);
        const lines = text.split("\n");
        for (const [section, table] of Object.entries(tables))
          for (const name of Object.keys(table)) {
            const place = places.get(`${section}.${name}`)!;
            assert(lines[place.line - 1]!.slice(place.column - 1).startsWith(name), `${section}.${name}\n${text}`);
          }
      }),
    );
  });
});
