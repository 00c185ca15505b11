import { createHmac } from "node:crypto";

/** Signatures as Standard Webhooks 1.0.0 has them, so that its receivers' libraries verify them. */

const SECRET_PREFIX = "whsec_";
/** The specification's own bounds. */
export const SECRET_MIN_BYTES = 24;
export const SECRET_MAX_BYTES = 64;

/** The key of `whsec_` and base64; undefined where the text is none. */
export function readSecret(text: string): Uint8Array | undefined {
  const base64 = text.startsWith(SECRET_PREFIX) ? text.slice(SECRET_PREFIX.length) : "";
  const key = Buffer.from(base64, "base64");
  const isWhole = key.toString("base64").replace(/=+$/, "") === base64.replace(/=+$/, "");
  return isWhole && key.length >= SECRET_MIN_BYTES && key.length <= SECRET_MAX_BYTES ? new Uint8Array(key) : undefined;
}

/** The three headers of a message. */
export function signatureHeaders(
  secret: Uint8Array,
  id: string,
  timestampS: number,
  body: string,
): Readonly<Record<string, string>> {
  const signature = createHmac("sha256", secret).update(`${id}.${timestampS}.${body}`).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestampS),
    "webhook-signature": `v1,${signature}`,
  };
}
