import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeEnrolmentToken } from "../../../hosts/relay/enrol.js";
import { Relay } from "../../../hosts/relay/relay.js";
import { failureOf, must, ORIGIN, StartedRelay, temporaryFolder } from "../started.js";
import { PASSWORD, PostgresServer, programs } from "./server.js";

/** The ways to a server: its socket on this machine, and TLS, as it is written into `store.url`. */
(programs() ? describe : describe.skip)("relay: connections to PostgreSQL", function () {
  this.timeout(60_000);
  let server: PostgresServer;

  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.close());

  /** A relay over `url` that lets a device in and takes a record of it; what the server says of its connection. */
  async function works(url: string): Promise<Readonly<Record<string, unknown>>> {
    const started = await StartedRelay.start({ store: { url } });
    try {
      const device = await started.device();
      device.appendReadings(3);
      device.read(await device.send(started.url), started.key);
      await started.settled();
      must(makeEnrolmentToken(started.folder, { store: { url } }));
      const { database } = started.relay.store;
      return database
        .prepare(
          "SELECT ssl, coalesce(version, '') AS version, inet_client_addr() IS NULL AS socket " +
            "FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
        .get() as Readonly<Record<string, unknown>>;
    } finally {
      await started.close();
    }
  }

  async function refusal(url: string): Promise<string> {
    const folder = temporaryFolder();
    try {
      const { code, detail } = failureOf(
        await Relay.initialise(folder.path, { origin: ORIGIN, store: { url, tries: 1 } }),
      );
      assert.doesNotMatch(detail, new RegExp(PASSWORD));
      return `${code} ${detail}`;
    } finally {
      folder.remove();
    }
  }

  it("go through a socket of this machine", async () => {
    const name = await server.database();
    const url = `postgres://relay:${PASSWORD}@localhost:${server.port}/${name}?host=${server.folder}`;
    assert.deepEqual(await works(url), { ssl: false, version: "", socket: true });
    assert.match(await refusal(url.replace(PASSWORD, "wrong")), /^STORE_UNREACHABLE .*28P01/);
    assert.match(await refusal(url.replace(server.folder, "/nowhere")), /^STORE_UNREACHABLE .*ENOENT/);
  });

  describe("by TLS", () => {
    const certificate = () => join(server.folder, "server.crt");
    let name: string;
    const url = (query: string, host = "127.0.0.1") =>
      `postgres://relay:${PASSWORD}@${host}:${server.port}/${name}?${query}`;

    before(async function () {
      if (spawnSync("openssl", ["version"]).status !== 0) {
        console.log("      SKIPPED, TLS to PostgreSQL was not tried: openssl is not installed");
        this.skip();
      }
      name = await server.database();
      assert.match(
        await refusal(url("sslmode=require")),
        /^STORE_UNREACHABLE/,
        "never without TLS where it is required",
      );
      const key = join(server.folder, "server.key");
      execFileSync(
        "openssl",
        [
          ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
          ...[
            "-subj",
            "/CN=relay-test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            certificate(),
          ],
        ],
        { stdio: "pipe" },
      );
      const { uid, gid } = statSync(server.folder);
      for (const path of [key, certificate()]) chownSync(path, uid, gid);
      chmodSync(key, 0o600);
      await server.stop("SIGINT");
      await server.run({ ssl: "on", ssl_cert_file: certificate(), ssl_key_file: key });
    });
    beforeEach(async () => {
      name = await server.database();
    });

    it("are encrypted with sslmode=require, whatever the certificate", async () => {
      assert.deepEqual(await works(url("sslmode=require")), { ssl: true, version: "TLSv1.3", socket: false });
    });

    it("are checked with sslmode=verify-full: who signed the certificate, and for whom", async () => {
      const root = `sslrootcert=${certificate()}`;
      assert.deepEqual(await works(url(`sslmode=verify-full&${root}`)), {
        ssl: true,
        version: "TLSv1.3",
        socket: false,
      });
      assert.match(await refusal(url("sslmode=verify-full")), /^STORE_UNREACHABLE .*self[- ]signed/i);
      assert.match(await refusal(url(`sslmode=verify-full&${root}`, "localhost")), /^STORE_UNREACHABLE .*ALTNAME/);
      const other = join(server.folder, "other.crt");
      writeFileSync(
        other,
        readFileSync(certificate(), "utf8").replace(/.{20}\n-----END/, `${"A".repeat(20)}\n-----END`),
      );
      assert.match(await refusal(url(`sslmode=verify-full&sslrootcert=${other}`)), /^STORE_UNREACHABLE/);
      assert.equal(existsSync("/nowhere/root.crt"), false);
      assert.match(
        await refusal(url("sslmode=verify-full&sslrootcert=/nowhere/root.crt")),
        /^STORE_UNREACHABLE .*root\.crt/,
      );
    });
  });
});
