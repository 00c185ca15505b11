import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { fail, ok, type Result } from "tallystick/codes/codes";
import type { Hex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

/**
 * The relay's ledger key: an account that pays for anchors and may submit them, nothing else. Losing it stops anchoring
 * on its contract; whoever steals it can anchor a false root, which every verifier of an earlier checkpoint sees.
 *
 * The file holds 64 hexadecimal digits and a line feed, mode 0600. Where it does not exist a key is made; a file that
 * exists and cannot be read is never replaced: LEDGER_KEY_UNREADABLE.
 */
export function openLedgerKey(file: string): Result<Hex> {
  try {
    if (!existsSync(file)) create(file);
  } catch (error) {
    return unreadable(file, String(error));
  }
  let text: string;
  try {
    // Windows has no such modes.
    const mode = statSync(file).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      return unreadable(file, `expected mode 0600, found 0${mode.toString(8)}; others may have read it`);
    }
    text = readFileSync(file, "utf8");
  } catch (error) {
    return unreadable(file, String(error));
  }
  if (!/^[0-9a-f]{64}\n$/.test(text)) return unreadable(file, "expected 64 hexadecimal digits and a line feed");
  const key: Hex = `0x${text.slice(0, 64)}`;
  try {
    privateKeyToAccount(key);
  } catch {
    return unreadable(file, "the number is not a key of the curve");
  }
  return ok(key);
}

/**
 * Durable before it is used: an anchor contract would name an account whose key a power cut took. Linked into place
 * whole, so that a cut leaves no half-written file that would count as a damaged key; never over an existing one.
 */
function create(file: string): void {
  const part = `${file}.part`;
  rmSync(part, { force: true });
  const handle = openSync(part, "wx", 0o600);
  try {
    writeSync(handle, `${randomBytes(32).toString("hex")}\n`);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  try {
    linkSync(part, file);
  } finally {
    rmSync(part);
  }
  if (process.platform === "win32") return;
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function unreadable(file: string, detail: string): Result<never> {
  return fail("LEDGER_KEY_UNREADABLE", `${file}: ${detail}`);
}
