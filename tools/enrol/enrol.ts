import { explain } from "tallystick/codes/codes";
import { makeEnrolmentToken } from "../../hosts/relay/enrol.js";

/** A fresh token as a device's key store takes it: the bytes of its text. Throws with one line that says what to do. */
export function enrol(dataDir: string): Uint8Array {
  const made = makeEnrolmentToken(dataDir);
  if (!made.ok) throw new Error(explain(made.failure));
  return new Uint8Array(Buffer.from(made.value.token, "ascii"));
}
