import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { type Code, type Failure, fail, ok, type Result } from "tallystick/codes/codes";
import { type Place, placesOf } from "./places.js";
import { complaintAbout, fromText, type Section, type Setting, type SettingValue, shown } from "./setting.js";
import { type Config, RULES, SETTINGS } from "./settings.js";
import { nearest } from "./spelling.js";

/**
 * The relay's configuration out of four places, the first that has a value counts: the command line, the environment
 * (`TALLYSTICK_HTTP_PORT`), one TOML file, the defaults. Nothing that is misspelt, of the wrong type or out of range is
 * passed over: a relay that starts has understood all that it was told.
 */

export const CONFIG_MAX_BYTES = 1_048_576;
/** A secret's own file. */
export const SECRET_FILE_MAX_BYTES = 4096;
/** Complaints that are told at once. */
export const COMPLAINTS_MAX = 20;
export const ENVIRONMENT_PREFIX = "TALLYSTICK_";
const FILE_SUFFIX = "_file";

/** Where a value came from, for a person: `relay.toml:7`, `TALLYSTICK_HTTP_PORT`, `--port`, `default`. */
export type Source = string;

export interface Stated {
  readonly section: string;
  readonly key: string;
  readonly value: SettingValue | undefined;
  /** As TOML writes it, secrets masked; undefined where the setting is not there. */
  readonly shown: string | undefined;
  /** `shown` is not all of it. */
  readonly masked: boolean;
  readonly source: Source;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Every setting in the order of the table. */
  readonly stated: readonly Stated[];
  /** Variables that begin as the relay's do and that it does not know: another program's, or misspelt. */
  readonly unknownVariables: readonly UnknownVariable[];
}

export interface UnknownVariable {
  readonly variable: string;
  /** What may have been meant. */
  readonly nearest?: string;
}

export interface ConfigInput {
  /** The TOML file; without one there are environment and defaults. */
  readonly path?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** What the command line says, by `section.key`, each with the option that said it. */
  readonly arguments?: ReadonlyMap<string, { readonly value: SettingValue; readonly option: string }>;
}

export type LoadResult =
  | { readonly ok: true; readonly value: LoadedConfig }
  /** At least one, at most COMPLAINTS_MAX. */
  | { readonly ok: false; readonly failures: readonly [Failure, ...Failure[]] };

/**
 * Reads and checks all of it. CONFIG_UNREADABLE and CONFIG_MALFORMED end it at once; CONFIG_UNKNOWN_KEY, CONFIG_INVALID,
 * CONFIG_SECRET_INLINE and CONFIG_SECRET_UNREADABLE are told together.
 */
export function loadConfig(input: ConfigInput): LoadResult {
  const file = input.path === undefined ? ok(undefined) : readConfigFile(input.path);
  if (!file.ok) return { ok: false, failures: [file.failure] };
  const reading = new Reading(input, file.value);
  reading.refuseUnknown();
  const stated = [...settings()].map(([section, key, setting]) => reading.state(section, key, setting));
  const config = configOf(stated);
  // Rules are about values that are what they should be.
  if (reading.failures.length === 0)
    for (const { at, complaint } of RULES) {
      const words = complaint(config);
      if (words !== undefined) reading.invalid(at.join("."), words);
    }
  const [first, ...rest] = reading.failures;
  return first
    ? { ok: false, failures: [first, ...rest.slice(0, COMPLAINTS_MAX - 1)] }
    : { ok: true, value: { config, stated, unknownVariables: reading.unknownVariables.slice(0, COMPLAINTS_MAX) } };
}

/** Every setting with its section's name and its own. */
export function* settings(): IterableIterator<[section: string, key: string, setting: Setting]> {
  for (const [name, section] of Object.entries(SETTINGS) as [string, Section][])
    for (const [key, setting] of Object.entries(section.settings)) yield [name, key, setting];
}

/** The environment's name of a setting: `http.port` is `TALLYSTICK_HTTP_PORT`. */
export function environmentName(section: string, key: string): string {
  return `${ENVIRONMENT_PREFIX}${section}_${key}`.toUpperCase();
}

interface ConfigFile {
  readonly path: string;
  readonly tables: Readonly<Record<string, unknown>>;
  readonly places: ReadonlyMap<string, Place>;
}

/** CONFIG_UNREADABLE, CONFIG_MALFORMED. */
function readConfigFile(path: string): Result<ConfigFile> {
  const read = readText(path, CONFIG_MAX_BYTES);
  if (!read.ok) return fail("CONFIG_UNREADABLE", read.why);
  try {
    return ok({ path, tables: parse(read.text), places: placesOf(read.text) });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Its further lines show the text around, which may be a secret.
    const why = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    return fail("CONFIG_MALFORMED", `${path}:${error.line}:${error.column}: ${why}`);
  }
}

type Read = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly why: string };

function readText(path: string, maxBytes: number): Read {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    if (!fstatSync(file).isFile()) return { ok: false, why: `${path} is not a file` };
    const bytes = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count)
      count = readSync(file, bytes, length, bytes.length - length, null);
    if (length > maxBytes) return { ok: false, why: `${path}: expected at most ${maxBytes} bytes` };
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length)) };
  } catch (error) {
    const isText = !(error instanceof TypeError);
    return { ok: false, why: isText ? (error as Error).message : `${path}: expected UTF-8` };
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** One reading of everything, with what was found wrong on the way. */
class Reading {
  readonly failures: Failure[] = [];
  readonly unknownVariables: UnknownVariable[] = [];
  readonly #input: ConfigInput;
  readonly #file: ConfigFile | undefined;
  readonly #environment: Readonly<Record<string, string | undefined>>;

  constructor(input: ConfigInput, file: ConfigFile | undefined) {
    this.#input = input;
    this.#file = file;
    this.#environment = input.environment ?? {};
  }

  invalid(name: string, words: string): void {
    this.#fail("CONFIG_INVALID", `${this.#whence(name)}${name}: ${words}`);
  }

  #fail(code: Code, detail: string): void {
    this.failures.push(fail(code, detail).failure);
  }

  /** CONFIG_UNKNOWN_KEY for each key, section and environment variable that no setting has. */
  refuseUnknown(): void {
    const names = [...settings()].flatMap(([section, key, { secret }]) =>
      secret === undefined ? [`${section}.${key}`] : [`${section}.${key}`, `${section}.${key}${FILE_SUFFIX}`],
    );
    for (const [section, table] of Object.entries(this.#file?.tables ?? {})) {
      if (!Object.hasOwn(SETTINGS, section)) this.#unknown(section, [...Object.keys(SETTINGS), ...names]);
      else if (!isTable(table)) this.invalid(section, `expected a section, [${section}], received a value`);
      else
        for (const key of Object.keys(table))
          if (!names.includes(`${section}.${key}`)) this.#unknown(`${section}.${key}`, names);
    }
    const variables = names.map((name) => environmentName(...(name.split(".") as [string, string])));
    const sections = Object.keys(SETTINGS).map((section) => environmentName(section, ""));
    for (const variable of Object.keys(this.#environment)) {
      if (!variable.startsWith(ENVIRONMENT_PREFIX) || variables.includes(variable)) continue;
      // Of no section: it may be another program's, and is told.
      if (!sections.some((start) => variable.startsWith(start))) {
        const near = nearest(variable, variables);
        this.unknownVariables.push({ variable, ...(near !== undefined && { nearest: near }) });
        continue;
      }
      this.#fail("CONFIG_UNKNOWN_KEY", `the environment variable ${variable}${hint(nearest(variable, variables))}`);
    }
  }

  #unknown(name: string, names: readonly string[]): void {
    this.#fail("CONFIG_UNKNOWN_KEY", `${this.#whence(name)}${name}${hint(nearest(name, names))}`);
  }

  /** The setting's value, and where it came from. A value that is wrong is told, and left out. */
  state(section: string, key: string, setting: Setting): Stated {
    const name = `${section}.${key}`;
    const found = this.#find(section, key, setting);
    const value = found?.value ?? setting.fallback;
    const complaint = found && complaintAbout(setting, value);
    if (complaint !== undefined) this.#fail("CONFIG_INVALID", `${found?.whence}: ${name}: ${complaint}`);
    return {
      section,
      key,
      value: value as SettingValue | undefined,
      shown: value === undefined ? undefined : shown(setting, value),
      masked: setting.secret !== undefined,
      source: found?.source ?? "default",
    };
  }

  /** The first place that has a value. `whence` is the source to the column, for messages. */
  #find(section: string, key: string, setting: Setting): Found | undefined {
    const name = `${section}.${key}`;
    const said = this.#input.arguments?.get(name);
    if (said) return { value: said.value, source: said.option, whence: said.option };
    const variable = environmentName(section, key);
    const words = this.#environment[variable];
    if (words !== undefined) return { value: fromText(setting, words), source: variable, whence: variable };
    const fileVariable = environmentName(section, key + FILE_SUFFIX);
    const fileNamed = setting.secret && this.#environment[fileVariable];
    if (fileNamed !== undefined) return this.#secretFile(fileNamed, resolve(fileNamed), fileVariable, fileVariable);
    const table = this.#file?.tables[section];
    if (!isTable(table)) return undefined;
    const fileKey = key + FILE_SUFFIX;
    if (setting.secret && Object.hasOwn(table, fileKey)) {
      if (Object.hasOwn(table, key)) this.invalid(name, `expected either ${key} or ${fileKey}, received both`);
      const source = this.#source(`${section}.${fileKey}`);
      const whence = this.#whence(`${section}.${fileKey}`).slice(0, -2);
      const path = table[fileKey];
      if (typeof path === "string" && path !== "")
        return this.#secretFile(path, resolve(dirname(this.#file!.path), path), source, whence);
      this.#fail("CONFIG_INVALID", `${whence}: ${section}.${fileKey}: expected the path of a file`);
      return undefined;
    }
    if (!Object.hasOwn(table, key)) return undefined;
    const whence = this.#whence(name).slice(0, -2);
    if (setting.secret === "whole") {
      this.#fail("CONFIG_SECRET_INLINE", `${whence}: ${name}: expected ${name}${FILE_SUFFIX}, or ${variable}`);
      return undefined;
    }
    return { value: table[key], source: this.#source(name), whence };
  }

  /** A secret's own file, at `full`: its text without the last line's end. `path` is as somebody wrote it. */
  #secretFile(path: string, full: string, source: Source, whence: string): Found | undefined {
    const read = readText(full, SECRET_FILE_MAX_BYTES);
    if (read.ok) return { value: read.text.replace(/\r?\n$/, ""), source: `${source} (${path})`, whence };
    this.#fail("CONFIG_SECRET_UNREADABLE", `${whence}: ${read.why}`);
    return undefined;
  }

  #source(name: string): Source {
    const place = this.#place(name);
    return `${this.#file!.path}${place ? `:${place.line}` : ""}`;
  }

  /** `relay.toml:7:1: ` before what is said of a name; where it stands in no file, nothing. */
  #whence(name: string): string {
    const place = this.#place(name);
    return place ? `${this.#file!.path}:${place.line}:${place.column}: ` : "";
  }

  #place(name: string): Place | undefined {
    return this.#file?.places.get(name) ?? this.#file?.places.get(name.split(".")[0]!);
  }
}

interface Found {
  readonly value: unknown;
  readonly source: Source;
  readonly whence: string;
}

function hint(near: string | undefined): string {
  return near === undefined ? "" : `; did you mean ${near}?`;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function configOf(stated: readonly Stated[]): Config {
  const config: Record<string, Record<string, SettingValue | undefined>> = {};
  for (const { section, key, value } of stated) {
    config[section] ??= {};
    config[section][key] = value;
  }
  // Each value was held against its schema, from which Config's types are made.
  return config as unknown as Config;
}
