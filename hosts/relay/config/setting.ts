import Type, { type TSchema } from "typebox";
import { Value } from "typebox/value";
import { NOT_SHOWN, shownAddress } from "./address.js";

/** What one setting of the relay is: its shape, its default, and what a person is told about it. */

export type SettingValue = string | number | boolean | readonly string[];

export interface Setting<Held extends SettingValue | undefined = SettingValue | undefined> {
  /** JSON Schema of the value as TOML gives it. */
  readonly schema: TSchema;
  /** What stands where nobody says anything; undefined: the setting is then not there. */
  readonly fallback: Held;
  /** For the example file: what it is for. */
  readonly comment: string;
  /**
   * Never shown. `whole` may not stand in the configuration itself; of a `url`, which may have a token in it, scheme and
   * host are shown. Both may come from a file of their own, named by `<key>_file`.
   */
  readonly secret?: "url" | "whole";
  /** Each text is or begins with a URL: of one that is wrong, scheme and host are shown at most. */
  readonly isAddress?: true;
  /** What the schema cannot say: answers what was expected where the value is not it. */
  readonly check?: (value: string) => string | undefined;
  /** Shown in the example where there is no default. */
  readonly example?: SettingValue;
}

export interface Section {
  readonly comment: string;
  readonly settings: Readonly<Record<string, Setting>>;
}

/** The values of a section's settings, by key. */
export type ValuesOf<S extends Section> = {
  readonly [Key in keyof S["settings"]]: S["settings"][Key] extends Setting<infer Held> ? Held : never;
};

interface About {
  readonly comment: string;
  readonly example?: SettingValue;
}

/** Longest text of a setting. */
const TEXT_MAX = 4096;

export interface TextOptions extends About {
  readonly pattern?: string;
  /** In words, what `pattern` or `check` asks for. */
  readonly expected?: string;
  readonly check?: (value: string) => string | undefined;
  readonly secret?: "url" | "whole";
  readonly isAddress?: true;
}

/** Text that is not blank. */
export function text(options: TextOptions & { readonly fallback: string }): Setting<string>;
export function text(options: TextOptions): Setting<string | undefined>;
export function text(options: TextOptions & { readonly fallback?: string }): Setting<string | undefined> {
  const { pattern, expected, fallback, ...rest } = options;
  const schema = Type.String({
    minLength: 1,
    maxLength: TEXT_MAX,
    // Nothing that a terminal, a path or a header takes for more than text.
    pattern: pattern ?? "^[^\\u0000-\\u001f\\u007f]+$",
    ...(expected !== undefined && { description: expected }),
  });
  return { schema, fallback, ...rest };
}

export interface IntegerOptions extends About {
  readonly minimum: number;
  readonly maximum: number;
}

/** A whole number, both bounds included. */
export function integer(options: IntegerOptions & { readonly fallback: number }): Setting<number>;
export function integer(options: IntegerOptions): Setting<number | undefined>;
export function integer(options: IntegerOptions & { readonly fallback?: number }): Setting<number | undefined> {
  const { minimum, maximum, fallback, ...rest } = options;
  return { schema: Type.Integer({ minimum, maximum }), fallback, ...rest };
}

export function flag(options: About & { readonly fallback: boolean }): Setting<boolean> {
  const { fallback, ...rest } = options;
  return { schema: Type.Boolean(), fallback, ...rest };
}

export function oneOf<const Word extends string>(
  words: readonly Word[],
  options: About & { readonly fallback: NoInfer<Word> },
): Setting<Word> {
  const { fallback, ...rest } = options;
  return { schema: Type.Union(words.map((word) => Type.Literal(word))), fallback, ...rest };
}

export interface ListOptions extends About {
  /** Most items. */
  readonly maximum: number;
  readonly expected: string;
  readonly fallback: readonly string[];
  readonly check?: (value: string) => string | undefined;
  readonly isAddress?: true;
}

/** A list of texts; in the environment they are separated by commas. */
export function list(options: ListOptions): Setting<readonly string[]> {
  const { maximum, expected, fallback, ...rest } = options;
  const item = Type.String({ minLength: 1, maxLength: TEXT_MAX, description: expected });
  return { schema: Type.Array(item, { maxItems: maximum }), fallback, ...rest };
}

/** What is wrong with a value, as `expected …, received …`; undefined where nothing is. */
export function complaintAbout(setting: Setting, value: unknown): string | undefined {
  if (!Value.Check(setting.schema, value))
    return `expected ${expectedOf(setting)}, received ${received(setting, value)}`;
  for (const item of [value].flat()) {
    const expected = typeof item === "string" ? setting.check?.(item) : undefined;
    if (expected !== undefined) return `expected ${expected}, received ${received(setting, item)}`;
  }
  return undefined;
}

/** A text of the environment or of a file as the setting's own type; as it is where it is not of that type. */
export function fromText({ schema }: Setting, words: string): unknown {
  const { type } = schema as { type?: string };
  if (type === "integer") return /^-?[0-9]{1,15}$/.test(words) ? Number(words) : words;
  if (type === "boolean") return words === "true" ? true : words === "false" ? false : words;
  if (type === "array") return words.trim() === "" ? [] : words.split(",").map((item) => item.trim());
  return words;
}

interface SchemaWords {
  readonly type?: string;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly items?: SchemaWords;
  readonly anyOf?: readonly { readonly const: string }[];
}

export const ANY_TEXT = "text that is not blank";

/** What a setting takes, in words. */
export function expectedOf({ schema }: Pick<Setting, "schema">): string {
  const { type, description, minimum, maximum, maxItems, items, anyOf } = schema as SchemaWords;
  if (anyOf) return `one of ${anyOf.map(({ const: word }) => JSON.stringify(word)).join(", ")}`;
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  if (type === "boolean") return "true or false";
  if (type === "array") return `a list of at most ${maxItems}, each ${items?.description}`;
  return description ?? ANY_TEXT;
}

const SHOWN_MAX = 80;
const ADDRESSES_SHOWN_MAX = 3;

/** A value as TOML writes it, cut where it is long; of a secret only what may be seen of it. */
export function shown(setting: Pick<Setting, "secret">, value: unknown): string {
  if (value === undefined) return "nothing";
  if (setting.secret === "whole") return NOT_SHOWN;
  if (setting.secret === "url") return address(value);
  if (typeof value === "bigint" || value instanceof Date) return String(value);
  // JSON has no word for these, TOML has.
  if (typeof value === "number" && !Number.isFinite(value))
    return String(value).replace("Infinity", "inf").toLowerCase();
  const words = JSON.stringify(value);
  return words.length > SHOWN_MAX ? `${words.slice(0, SHOWN_MAX)}…` : words;
}

/** A value that is wrong: of what should have been an address it is not known what of it is secret. */
function received(setting: Setting, value: unknown): string {
  // A URL where none belongs may have the same in it.
  const isUrl = [value].flat().some((item) => typeof item === "string" && item.includes("://"));
  if ((!setting.isAddress && !isUrl) || value === undefined) return shown(setting, value);
  return Array.isArray(value) ? `[${value.slice(0, ADDRESSES_SHOWN_MAX).map(address).join(", ")}]` : address(value);
}

function address(value: unknown): string {
  const words = typeof value === "string" ? shownAddress(value) : NOT_SHOWN;
  return words === NOT_SHOWN ? words : JSON.stringify(words);
}
