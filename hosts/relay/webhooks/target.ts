import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { shownScheme } from "../config/address.js";
import { refusalOf } from "./addresses.js";

/**
 * Where a webhook goes: a URL that was looked at when the relay started, and, each time anew, one address that its host
 * has just then and that may be reached. Whoever connects uses that address and no name: between the look and the
 * connection nobody can answer otherwise.
 */

export interface Target {
  readonly url: URL;
  /** Host as names are looked up: without brackets. */
  readonly host: string;
}

export interface TargetRules {
  /** http, too: for a receiver on a network of the operator's own. */
  readonly allowInsecure: boolean;
  /** Ranges that may be reached although they are not public. */
  readonly allowAddresses: readonly string[];
}

const URL_MAX_CHARACTERS = 2048;

/** WEBHOOK_TARGET_REFUSED: no https, a user in it, a host that is an address which may not be reached, no host's name. */
export function parseTarget(text: string, rules: TargetRules): Result<Target> {
  const refuse = (why: string): Result<never> => fail("WEBHOOK_TARGET_REFUSED", why);
  if (text.length > URL_MAX_CHARACTERS) return refuse(`expected at most ${URL_MAX_CHARACTERS} characters`);
  // URL drops tabs and line ends, and takes \ for /: what a person reads is then not what is reached.
  if (/[\s\\\p{Cc}\p{Cf}]/u.test(text)) return refuse("expected a URL without blanks, controls and \\");
  if (!URL.canParse(text)) return refuse("expected a URL");
  const url = new URL(text);
  const schemes = rules.allowInsecure ? ["https:", "http:"] : ["https:"];
  if (!schemes.includes(url.protocol)) return refuse(`expected ${schemes.join(" or ")}, received ${shownScheme(url)}`);
  if (url.username !== "" || url.password !== "") return refuse("expected no user and no password in the URL");
  // Only what stands there as the host is it: 0x7f.1, 127。0。0。1 and the like are written otherwise than they are reached.
  const written = writtenHost(text);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) {
    if (written.replace(/^\[|\]$/g, "") !== host) return refuse(`expected the host as ${host}, received ${written}`);
    const why = refusalOf(host, rules.allowAddresses);
    return why === undefined ? ok({ url, host }) : refuse(`${host} is ${why}`);
  }
  if (
    domainToASCII(host) !== host ||
    !/^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*$/.test(host)
  )
    return refuse(`expected a host's name, without a dot at its end, received ${host}`);
  if (written.toLowerCase() !== host) return refuse(`expected the host as ${host}, received ${written}`);
  return ok({ url, host });
}

/** The host as it stands in the text. */
function writtenHost(text: string): string {
  const authority = /^[a-z]+:\/\/([^/?#]*)/i.exec(text)?.[1] ?? "";
  return authority.replace(/^.*@/, "").replace(/:[0-9]*$/, "");
}

/** All addresses of a name, as the system has them. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** No answer of a resolver has more that we look at. */
const ADDRESSES_MAX = 64;

export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

/**
 * The address to connect to now. One that may not be reached among a name's addresses refuses them all: a public host has
 * none, and which one a later look would give is not ours to say. WEBHOOK_TARGET_REFUSED, WEBHOOK_FAILED.
 */
export async function addressOf(target: Target, rules: TargetRules, resolve: Resolve): Promise<Result<string>> {
  let addresses: readonly string[];
  try {
    addresses = isIP(target.host) === 0 ? (await resolve(target.host)).slice(0, ADDRESSES_MAX) : [target.host];
  } catch (error) {
    return fail("WEBHOOK_FAILED", `${target.host}: ${(error as NodeJS.ErrnoException).code ?? "no address"}`);
  }
  for (const address of addresses) {
    const why = refusalOf(address, rules.allowAddresses);
    if (why !== undefined) return fail("WEBHOOK_TARGET_REFUSED", `${target.host} is at ${address}, ${why}`);
  }
  const [address] = addresses;
  return address === undefined ? fail("WEBHOOK_FAILED", `${target.host} has no address`) : ok(address);
}
