import { makeRevocation, readRevocation } from "tallystick/chain/revocation";
import { explain, type Failure } from "tallystick/codes/codes";
import { didKey, fingerprint, kidOf } from "tallystick/identity/key";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { makeKeyFile, readKeyFile, writeStatementFile } from "../key-file.js";

/** What `tallystick owner` does; each answers with the exit status: 0 done, 1 refused. */

export function key(out: string): number {
  const made = makeKeyFile(out);
  if (!made.ok) return refuse(made.failure);
  console.log(didKey(made.value.publicKey));
  return 0;
}

export function revoke(
  keyFile: string,
  { device, fromSeq, reason }: { readonly device: Uint8Array; readonly fromSeq: number; readonly reason?: string },
  out: string,
): number {
  const owner = readKeyFile(keyFile);
  if (!owner.ok) return refuse(owner.failure);
  const revocation = {
    kid: kidOf(relayCrypto.sha256, device),
    fromSeq,
    timeS: Math.floor(Date.now() / 1000),
    ...(reason !== undefined && { reason }),
  };
  let fault: Failure | undefined;
  const statement = makeRevocation(owner.value.kid, revocation, (bytes) => {
    const signed = owner.value.sign(bytes);
    if (signed.ok) return signed.value;
    fault = signed.failure;
    return new Uint8Array(64);
  });
  // What is handed out is what a reader takes.
  const read = readRevocation(statement);
  if (fault || !read.ok) return refuse(fault ?? (read as { readonly failure: Failure }).failure);
  if (out === "-") {
    process.stdout.write(statement);
    return 0;
  }
  const written = writeStatementFile(out, statement);
  if (!written.ok) return refuse(written.failure);
  console.log(
    [
      `${didKey(owner.value.publicKey)} revokes`,
      `  device   ${didKey(device)}`,
      `  print    ${fingerprint(relayCrypto.sha256, device)}, to compare by eye`,
      `  from     seq ${fromSeq} on`,
      ...(reason === undefined ? [] : [`  reason   ${JSON.stringify(reason)}`]),
    ].join("\n"),
  );
  return 0;
}

function refuse(failure: Failure): number {
  console.error(`tallystick owner: ${explain(failure)}`);
  return 1;
}
