import { readFileSync } from "node:fs";
import type { VectorFiles } from "./consume.js";

const load = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, import.meta.url), "utf8"));

/** All vectors, for every engine that consumes them. */
export const vectorFiles: VectorFiles = {
  record: load("record"),
  gap: load("gap"),
  alert: load("alert"),
  log: load("log"),
  witness: load("witness"),
  acknowledgement: load("acknowledgement"),
  succession: load("succession"),
  mqtt: load("mqtt"),
  keys: load("keys"),
  maker: load("maker"),
  relayKey: load("relay-key"),
  evidence: load("evidence"),
  omission: load("omission"),
};
