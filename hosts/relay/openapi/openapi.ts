import type { FastifyInstance, FastifySchema } from "fastify";
import { CODES, type Code } from "tallystick/codes/codes";
import Type from "typebox";
import { PROBLEM_TYPE } from "../problem.js";
import { CBOR_SEQUENCE_TYPE, CBOR_TYPE } from "../routes/shapes.js";
import { ANSWERS, COMMON_PROBLEMS } from "./answers.js";

/**
 * OpenAPI 3.1 of the routes that are registered, from the schemas by which requests are checked and answers are written:
 * what is described is what runs. Since 3.1 its schemas are JSON Schema as it is, so that no translation is between.
 */

/** Of the routes, as their paths have it. */
const API_VERSION = "1.0.0";

type Json = { readonly [key: string]: unknown };

interface Registered {
  readonly method: string;
  readonly url: string;
  readonly schema: FastifySchema;
}

/** Adds `GET /openapi.json`, which tells of all routes that are added from here on. Call before other routes are added. */
export function openapiRoute(app: FastifyInstance): void {
  const registered: Registered[] = [];
  app.addHook("onRoute", ({ method, url, schema = {} }) => {
    if (schema.hide) return;
    // Each GET has a HEAD beside it, of which there is nothing more to say.
    for (const each of [method].flat()) if (each !== "HEAD") registered.push({ method: each as string, url, schema });
  });
  let document: string | undefined;
  app.get("/openapi.json", { schema: { summary: "This document" } }, (_request, reply) => {
    document ??= JSON.stringify(describe(registered));
    return reply.type("application/json; charset=utf-8").send(document);
  });
}

function describe(registered: readonly Registered[]): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of registered) {
    const path = route.url.replaceAll(/:(\w+)/g, "{$1}").replace("*", "{path}");
    paths[path] ??= {};
    paths[path][route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Tallystick relay",
      version: API_VERSION,
      description:
        "Verifies, stores, logs, acknowledges and submits what devices send. Bodies in CBOR are in SPEC.md files.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      securitySchemes: {
        operator: {
          type: "http",
          scheme: "bearer",
          description: "an operator token, tsop_…; tallystick operator-token",
        },
      },
    },
  };
}

function operation({ method, url, schema }: Registered): Json {
  const { summary, operator } = schema;
  const [params, querystring, body] = [schema.params, schema.querystring, schema.body] as (SchemaObject | undefined)[];
  const parameters = [...parametersOf("path", params), ...parametersOf("query", querystring)];
  return {
    operationId: `${method.toLowerCase()}${url.replaceAll(/[^a-z0-9]+/gi, "_")}`,
    summary,
    ...(operator && { security: [{ operator: [] }] }),
    ...(operator && { description: `takes the role ${operator.role}${operator.ofAll ? " of the whole relay" : ""}` }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: {
        required: true,
        ...(body.properties
          ? { content: { "application/json": { schema: body } } }
          : { description: body.description, content: { [CBOR_TYPE]: {}, [CBOR_SEQUENCE_TYPE]: {} } }),
      },
    }),
    responses: responsesOf(`${method} ${url}`, schema),
  };
}

interface SchemaObject {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaObject>>;
  readonly required?: readonly string[];
  readonly default?: unknown;
}

function parametersOf(where: "path" | "query", shape: SchemaObject | undefined): Json[] {
  return Object.entries(shape?.properties ?? {}).map(([name, schema]) => ({
    // OpenAPI has no parameter of several segments; clients must leave the slashes as they are.
    name: name === "*" ? "path" : name,
    in: where,
    required: where === "path" || (shape?.required?.includes(name) === true && schema.default === undefined),
    ...(schema.description !== undefined && { description: schema.description }),
    schema,
  }));
}

function responsesOf(route: string, { response }: FastifySchema): Json {
  const answers = ANSWERS[route];
  const found = (response ?? {}) as Record<string, SchemaObject & { content?: Record<string, Json> }>;
  const ok = found["200"];
  const content: Record<string, Json> = {};
  for (const type of answers?.types ?? []) content[type] = {};
  if (ok?.content) Object.assign(content, ok.content);
  else if (ok) content["application/json"] = { schema: ok };
  else if (Object.keys(content).length === 0) content["application/json"] = {};
  const responses: Record<string, Json> = {
    200: { description: answers?.specified ?? "as the schema says", content },
  };
  const byStatus = new Map<number, Code[]>();
  for (const code of new Set([...(answers?.problems ?? []), ...COMMON_PROBLEMS])) {
    const { status } = CODES[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  for (const [status, codes] of [...byStatus].sort(([a], [b]) => a - b))
    responses[status] = problemResponse(status, codes);
  // Whatever is wrong, a probe is answered 503, with a code from all of the table.
  if (found["503"]) responses[503] = problemResponse(503, undefined);
  return responses;
}

function problemResponse(status: number, codes: readonly Code[] | undefined): Json {
  const reference = { $ref: "#/components/schemas/Problem" };
  return {
    description: codes ? codes.map((code) => `${code}: ${CODES[code].means}`).join("; ") : "any code",
    ...((status === 503 || status === 429) && {
      headers: { "retry-after": { description: "seconds", schema: { type: "integer" } } },
    }),
    content: {
      [PROBLEM_TYPE]: {
        schema: codes ? { allOf: [reference, { properties: { code: { enum: codes } } }] } : reference,
      },
    },
  };
}

/** RFC 9457. Further members say more: `held` and `received` of a fork, `expected_seq` of a gap. */
const PROBLEM = Type.Object(
  {
    type: Type.String(),
    title: Type.String({ description: "what the code means" }),
    status: Type.Integer(),
    code: Type.String({ description: "stable; modules/codes" }),
    detail: Type.String({ description: "what was expected and what came" }),
    todo: Type.String({ description: "what to do about it" }),
  },
  { additionalProperties: true },
);
