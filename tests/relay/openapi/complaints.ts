import { Ajv2020 } from "ajv/dist/2020.js";

/** What OpenAPI 3.1 asks of a document, as far as ours uses it, and what we ask beyond. */

type Schema = Readonly<Record<string, unknown>>;

export interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; required: boolean; schema: Schema }[];
  requestBody?: { content: Record<string, { schema?: Schema }> };
  responses: Record<string, { description: string; content?: Record<string, { schema?: Schema }> }>;
}

export interface OpenapiDocument {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

export function operationsOf({ paths }: OpenapiDocument) {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
}

export function complaintsAbout(document: OpenapiDocument): string[] {
  const found: string[] = [];
  if (!/^3\.1\.\d+$/.test(document.openapi)) found.push(`openapi: ${document.openapi}`);
  if (!document.info.title || !document.info.version) found.push("info: no title or no version");
  const ids = new Set<string>();
  for (const { path, method, operation } of operationsOf(document)) {
    const at = `${method} ${path}`;
    const { operationId, summary, parameters = [], requestBody, responses } = operation;
    if (!path.startsWith("/") || /[:*]/.test(path)) found.push(`${at}: a path of OpenAPI`);
    if (!METHODS.includes(method.toLowerCase())) found.push(`${at}: the method`);
    if (!summary) found.push(`${at}: no summary`);
    if (ids.has(operationId)) found.push(`${at}: operationId ${operationId} is there twice`);
    ids.add(operationId);
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    const declared = parameters.filter((parameter) => parameter.in === "path");
    for (const name of inPath)
      if (!declared.some((parameter) => parameter.name === name && parameter.required))
        found.push(`${at}: ${name} is in the path, but is no parameter`);
    for (const { name } of declared) if (!inPath.includes(name)) found.push(`${at}: ${name} is not in the path`);
    for (const { name, in: where, schema } of parameters) {
      if (!["path", "query", "header", "cookie"].includes(where)) found.push(`${at}: ${name} is in ${where}`);
      found.push(...schemaComplaints(document, `${at}: parameter ${name}`, schema));
    }
    if (requestBody && Object.keys(requestBody.content).length === 0) found.push(`${at}: a body of no type`);
    if (!responses["200"]) found.push(`${at}: no answer 200`);
    for (const [status, { description, content = {} }] of Object.entries(responses)) {
      if (!/^[1-5]\d\d$/.test(status) || !description) found.push(`${at}: ${status} has no description`);
      if (Object.keys(content).length === 0) found.push(`${at}: ${status} answers nothing`);
      if (Number(status) >= 400 && !content["application/problem+json"])
        found.push(`${at}: ${status} is no problem document`);
      for (const [type, { schema }] of Object.entries(content))
        if (schema) found.push(...schemaComplaints(document, `${at}: ${status} ${type}`, schema));
    }
  }
  return found;
}

const ajv = new Ajv2020({ strict: false });
/** What was said of a schema before: most of them are there many times. */
const verdicts = new Map<string, string | undefined>();

/** A schema is JSON Schema 2020-12, and what it refers to is in the document. */
function schemaComplaints({ components }: OpenapiDocument, at: string, schema: Schema): string[] {
  const whole = JSON.stringify({ ...schema, components });
  if (!verdicts.has(whole)) {
    let verdict: string | undefined;
    try {
      ajv.compile(JSON.parse(whole));
    } catch (error) {
      verdict = (error as Error).message;
    }
    verdicts.set(whole, verdict);
  }
  const verdict = verdicts.get(whole);
  return verdict === undefined ? [] : [`${at}: schema: ${verdict}`];
}
