/** What may be shown of an address that somebody wrote, right or wrong: it may have a password or a token in it. */

const KNOWN_SCHEMES = ["http:", "https:", "mqtt:", "mqtts:", "postgres:", "postgresql:"];

export const NOT_SHOWN = "(not shown)";

/**
 * Scheme and host of an address with a known scheme, with `/…` where there is more. Nothing of any other text: of
 * `foo://token` the host may be what is secret, and of a password with a / in it a part would pass for the host.
 */
export function shownAddress(text: string): string {
  // A witness's has its key behind a =.
  const whole = URL.canParse(text);
  const address = whole ? text : text.split("=", 1)[0]!;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || url.host === "" || !KNOWN_SCHEMES.includes(url.protocol)) return NOT_SHOWN;
  const hasUser = url.username !== "" || url.password !== "";
  if (text.includes("@") && !hasUser) return NOT_SHOWN;
  const isBlank = whole && ["", "/"].includes(url.pathname) && url.search === "" && url.hash === "" && !hasUser;
  return `${url.protocol}//${url.host}${isBlank ? "" : "/…"}`;
}

/** The scheme alone, as `https:`; of one that is not known, nothing. */
export function shownScheme({ protocol }: URL): string {
  return KNOWN_SCHEMES.includes(protocol) ? protocol : NOT_SHOWN;
}
