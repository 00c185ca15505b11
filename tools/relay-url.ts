import { InvalidArgumentError } from "commander";

/** An option's address of a relay, as it was typed. */
export function relayUrl(text: string): string {
  if (URL.canParse(text) && /^https?:\/\/[^/]/i.test(text)) return text;
  // What Node would make of `localhost:8080` is a URL whose scheme is localhost.
  const bare = !text.includes("://") && URL.canParse(`http://${text}`);
  throw new InvalidArgumentError(
    `expected an address such as http://127.0.0.1:8080${bare ? `: put http:// or https:// in front of ${text}` : ""}`,
  );
}

/** As `relayUrl`, for a board: it asks for paths at the root of an address, and of no other place. */
export function relayOrigin(text: string): string {
  const { origin, pathname, search, hash } = new URL(relayUrl(text));
  if (pathname === "/" && search === "" && hash === "") return origin;
  throw new InvalidArgumentError(`a board finds no relay behind a path: expected ${origin}`);
}
