import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { CODES } from "tallystick/codes/codes";
import { encodeRequest } from "tallystick/sync/messages";
import { ANSWERS } from "../../../hosts/relay/openapi/answers.js";
import type { FixtureDevice } from "../../fixtures/device.js";
import { TALLYSTICK } from "../../tools/session.js";
import { StartedRelay } from "../started.js";
import { complaintsAbout, type OpenapiDocument, operationsOf } from "./complaints.js";

describe("relay: OpenAPI", () => {
  let started: StartedRelay;
  let device: FixtureDevice;
  let document: OpenapiDocument;
  before(async () => {
    started = await StartedRelay.start();
    device = await started.device();
    device.appendReadings(2);
    device.read(await device.send(started.url), started.key);
    await started.settled();
    document = (await (await fetch(`${started.url}/openapi.json`)).json()) as OpenapiDocument;
  });
  after(() => started.close());

  it("is an OpenAPI document", () => assert.deepEqual(complaintsAbout(document), []));

  it("is what the command prints", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [TALLYSTICK, "relay", "--openapi"], {
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), document);
  });

  it("is found out where it is none", () => {
    const changed = (change: (copy: OpenapiDocument) => void): string[] => {
      const copy = structuredClone(document);
      change(copy);
      return complaintsAbout(copy);
    };
    const device = (copy: OpenapiDocument) => copy.paths["/v1/devices/{kid}"]!["get"]!;
    const cases: readonly (readonly [(copy: OpenapiDocument) => void, RegExp])[] = [
      [
        (copy) => {
          device(copy).parameters = [];
        },
        /kid is in the path, but is no parameter/,
      ],
      [
        (copy) => {
          device(copy).summary = "";
        },
        /no summary/,
      ],
      [
        (copy) => {
          device(copy).operationId = "get_checkpoint";
        },
        /operationId .* twice/,
      ],
      [(copy) => void delete device(copy).responses["200"], /no answer 200/],
      [
        (copy) => {
          device(copy).parameters![0]!.schema = { type: "text" };
        },
        /schema/,
      ],
      [
        (copy) => {
          device(copy).responses["404"]!.content = {};
        },
        /404 .* problem/,
      ],
      [
        (copy) => {
          copy.components.schemas = {};
        },
        /#\/components\/schemas\/Problem/,
      ],
      [
        (copy) => {
          copy.openapi = "3.0.0";
        },
        /openapi/,
      ],
    ];
    for (const [change, complaint] of cases) assert.match(changed(change).join("\n"), complaint);
  });

  it("tells of every route that is there, and of no other", () => {
    const told = operationsOf(document).map(({ method, path }) => `${method} ${path}`);
    const known = Object.keys(ANSWERS).map((route) => route.replaceAll(/:(\w+)/g, "{$1}").replace("*", "{path}"));
    assert.deepEqual(told.sort(), known.sort());
    // What the server itself knows: the method's own refusal names what an address takes.
    assert(told.includes("GET /openapi.json"));
  });

  it("has an operation for each address and method that the server takes", async () => {
    const ids: Record<string, string> = { kid: device.kid, id: "00".repeat(32), path: "0/000.p/1" };
    for (const [path, methods] of Object.entries(document.paths)) {
      const url = `${started.url}${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name]!)}`;
      const { status, headers } = await fetch(url, { method: "PATCH" });
      assert.equal(status, 405, path);
      const allowed = headers
        .get("allow")!
        .split(", ")
        .filter((method) => method !== "HEAD");
      assert.deepEqual(
        Object.keys(methods)
          .map((method) => method.toUpperCase())
          .sort(),
        allowed,
        path,
      );
    }
  });

  it("describes answers as they are", async () => {
    const ajv = new Ajv2020({ strict: false });
    ajv.addSchema({ $id: "relay", ...document } as object);
    const id = document.paths["/v1/devices/{kid}"] && (await devices()).devices[0].received.id;
    const paths: readonly (readonly [string, string])[] = [
      ["/v1/devices", "/v1/devices"],
      ["/v1/devices/{kid}", `/v1/devices/${device.kid}`],
      ["/v1/records/{id}", `/v1/records/${id}`],
      ["/v1/relay", "/v1/relay"],
      ["/readyz", "/readyz"],
    ];
    for (const [path, url] of paths) {
      const answer = await (await fetch(`${started.url}${url}`, { headers: { accept: "application/json" } })).json();
      const { schema } = document.paths[path]!["get"]!.responses["200"]!.content!["application/json"]!;
      const validate = ajv.compile({ ...schema });
      assert(validate(answer), `${path}: ${JSON.stringify(validate.errors)}`);
      assert.equal(validate({}), false, `${path}: whatever comes is taken`);
    }
    async function devices() {
      return (await (await fetch(`${started.url}/v1/devices`)).json()) as { devices: [{ received: { id: string } }] };
    }
  });

  it("names the codes of the problems that come", async () => {
    const cbor = { "content-type": "application/cbor" };
    const cases: readonly (readonly [string, string, string, RequestInit?])[] = [
      ["get", "/v1/devices/{kid}", "/v1/devices/0011223344556677"],
      ["get", "/v1/devices/{kid}", "/v1/devices/zz"],
      ["get", "/v1/records/{id}", `/v1/records/${"00".repeat(32)}`],
      ["get", "/v1/devices/{kid}/revocation", `/v1/devices/${device.kid}/revocation`],
      ["get", "/tile/{path}", "/tile/0/000.p/200"],
      ["post", "/v1/devices", "/v1/devices", { method: "POST", headers: cbor, body: "x" }],
      ["post", "/v1/devices", "/v1/devices", { method: "POST", headers: { "content-type": "text/plain" }, body: "x" }],
      [
        "post",
        "/v1/devices/{kid}/records",
        `/v1/devices/${device.kid}/records`,
        {
          method: "POST",
          headers: cbor,
          body: Buffer.concat([Buffer.from(encodeRequest(device.request())), Buffer.from("d2", "hex")]),
        },
      ],
    ];
    for (const [method, path, url, init] of cases) {
      const answer = await fetch(`${started.url}${url}`, init ?? {});
      const problem = (await answer.json()) as { code: keyof typeof CODES };
      const response = document.paths[path]![method]!.responses[String(answer.status)];
      assert.match(response?.description ?? "", new RegExp(`\\b${problem.code}:`), `${url} ${problem.code}`);
    }
  });
});
