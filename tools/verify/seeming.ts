import { fromUtf8 } from "tallystick/bytes/bytes";
import { readRevocation } from "tallystick/chain/revocation";
import { parseRecord } from "tallystick/record/record";
import { readAcknowledgement } from "tallystick/sync/messages";

/**
 * What a file seems to be that is not what is `wanted`, in words for who has named the wrong one; undefined where nothing tells,
 * as of evidence: its first byte is none that UTF-8 begins with.
 */
export function seemingOf(bytes: Uint8Array, wanted = "evidence"): string | undefined {
  if (bytes.length === 0) return "it is empty";
  // A tagged COSE_Sign1.
  if (bytes[0] === 0xd2) return statementOf(bytes);
  const text = fromUtf8(bytes);
  if (text === undefined || hasControls(text)) return undefined;
  return `it seems to be ${textKindOf(text.trimStart())}, and ${wanted} is CBOR`;
}

function statementOf(bytes: Uint8Array): string | undefined {
  if (readAcknowledgement(bytes).ok) return "an acknowledgement is judged by the log: name it with --log <place>";
  if (readRevocation(bytes).ok) return "it is a revocation, which evidence may carry: tallystick inspect prints it";
  if (parseRecord(bytes).ok) return "it is a record by itself: tallystick evidence fetches what proves it";
  return undefined;
}

function textKindOf(text: string): string {
  if (text.startsWith("{") || text.startsWith("[{")) return "JSON, as a policy is";
  if (text.startsWith("-----BEGIN ")) return "PEM, as certificates are";
  if (/\n\n\u2014 /.test(text)) return "a signed note, as a checkpoint is";
  if (/^[0-9a-fA-F\s]+$/.test(text)) return "bytes spelled in hexadecimal";
  if (/^([\w.-]+\s*=|\[[\w.-]+\]\s*$)/m.test(text)) return "TOML, as a relay's configuration is";
  return "plain text";
}

/** But white space: no text that people write has any. */
function hasControls(text: string): boolean {
  for (const character of text) if (character < " " && !"\t\n\r".includes(character)) return true;
  return false;
}
