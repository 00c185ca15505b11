import { readFileSync } from "node:fs";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { MQTT_PREFIX } from "tallystick/sync/mqtt";

/** How the relay finds its broker, as an operator says it, and as the connection needs it. */

export interface MqttOptions {
  /** `mqtt://host:port` or `mqtts://host:port`; ports default to 1883 and 8883. No name or password stands in it. */
  readonly url: string;
  readonly user?: string;
  /** A file that holds the password, and at most a line's end behind it. */
  readonly passwordFile?: string;
  /** Default `tallystick-` and the kid of the relay's device-facing key. One client of a name at a time is on a broker. */
  readonly clientId?: string;
  /** What stands before `<kid>/up`; default `tally/v1`. */
  readonly prefix?: string;
  /** Certificates in PEM that a broker's must lead to, in place of the system's. */
  readonly caFile?: string;
  /** Waits between attempts to connect; the defaults are in broker.ts. */
  readonly backOff?: BackOff;
}

export interface BackOff {
  readonly firstMs: number;
  readonly maxMs: number;
}

export interface MqttSettings {
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
  readonly prefix: string;
  readonly user?: string;
  readonly password?: Buffer;
  readonly clientId?: string;
  readonly ca?: Buffer;
  readonly backOff?: BackOff;
}

const PLAIN_PORT = 1883;
const SECURE_PORT = 8883;
const PASSWORD_MAX_BYTES = 1024;
const CA_MAX_BYTES = 1024 * 1024;
/** Names that no wildcard, no system topic and no terminal takes for something else. */
const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:\/[A-Za-z0-9._-]{1,64}){0,7}$/;
const CLIENT_ID = /^[A-Za-z0-9._-]{1,64}$/;
const USER = /^[\x21-\x7e]{1,256}$/;

/** MQTT_UNUSABLE, FILE_UNREADABLE. */
export function readMqttSettings(options: MqttOptions): Result<MqttSettings> {
  const place = placeOfUrl(options.url);
  if (!place.ok) return place;
  const { user, clientId, prefix = MQTT_PREFIX, backOff } = options;
  if (!PREFIX.test(prefix))
    return unusable("a topic prefix of at most 8 levels of letters, digits, dots, underscores and hyphens");
  if (clientId !== undefined && !CLIENT_ID.test(clientId))
    return unusable("a client id of at most 64 letters, digits, dots, underscores and hyphens");
  if (user !== undefined && !USER.test(user)) return unusable("a user name of at most 256 visible ASCII characters");
  if (options.passwordFile !== undefined && user === undefined) return unusable("a user name beside the password");
  if (options.caFile !== undefined && !place.value.isSecure) return unusable("mqtts: beside a file of certificates");
  const password = options.passwordFile === undefined ? ok(undefined) : readPassword(options.passwordFile);
  if (!password.ok) return password;
  const ca = options.caFile === undefined ? ok(undefined) : readBounded(options.caFile, CA_MAX_BYTES);
  if (!ca.ok) return ca;
  return ok({
    ...place.value,
    prefix,
    ...(user !== undefined && { user }),
    ...(clientId !== undefined && { clientId }),
    ...(password.value && { password: password.value }),
    ...(ca.value && { ca: ca.value }),
    ...(backOff && { backOff }),
  });
}

/** What is received is not repeated: it may hold a password after all. */
function placeOfUrl(text: string): Result<Pick<MqttSettings, "host" | "port" | "isSecure">> {
  const expected = "mqtt://host:port or mqtts://host:port, without name, password or path";
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return unusable(expected);
  }
  const { protocol, hostname, port, username, password, pathname, search, hash } = url;
  const isPlain = !username && !password && ["", "/"].includes(pathname) && !search && !hash;
  if (!isPlain || hostname === "" || (protocol !== "mqtt:" && protocol !== "mqtts:")) return unusable(expected);
  const isSecure = protocol === "mqtts:";
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return ok({ host, isSecure, port: port === "" ? (isSecure ? SECURE_PORT : PLAIN_PORT) : Number(port) });
}

function readPassword(path: string): Result<Buffer> {
  const bytes = readBounded(path, PASSWORD_MAX_BYTES);
  if (!bytes.ok) return bytes;
  const password = Buffer.from(bytes.value.toString("latin1").replace(/\r?\n$/, ""), "latin1");
  return password.length > 0 ? ok(password) : fail("FILE_UNREADABLE", `expected a password in ${path}, found none`);
}

function readBounded(path: string, maxBytes: number): Result<Buffer> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return fail("FILE_UNREADABLE", `${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
  if (bytes.length <= maxBytes) return ok(bytes);
  return fail("FILE_UNREADABLE", `expected at most ${maxBytes} bytes in ${path}, found ${bytes.length}`);
}

function unusable(expected: string): Result<never> {
  return fail("MQTT_UNUSABLE", `expected ${expected}`);
}
