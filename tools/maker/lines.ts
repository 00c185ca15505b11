import { toHex } from "tallystick/bytes/bytes";
import { didKey, fingerprint } from "tallystick/identity/key";
import { portableCrypto } from "tallystick/identity/portable";
import type { MakerStatement } from "tallystick/record/maker";

/** A maker's statement for people, one field a line. Who signed it, its kid alone does not prove. */
export function makerLines({ statement, vouched }: MakerStatement): string[] {
  const { publicKey, chip, firmwareSha256, ownerKey, text } = vouched;
  return [
    `maker    ${toHex(statement.kid)}`,
    `device   ${didKey(publicKey)}`,
    `print    ${fingerprint(portableCrypto.sha256, publicKey)}, to compare by eye`,
    `chip     ${toHex(chip)}`,
    `firmware ${toHex(firmwareSha256)}`,
    ...(ownerKey ? [`owner    ${didKey(ownerKey)}`] : []),
    ...(text === undefined ? [] : [`text     ${JSON.stringify(text)}`]),
  ];
}

/** The same for programs. */
export function makerJson({ statement, vouched }: MakerStatement) {
  const { publicKey, chip, firmwareSha256, ownerKey, text } = vouched;
  return {
    maker_kid: toHex(statement.kid),
    device: didKey(publicKey),
    chip: toHex(chip),
    firmware_sha256: toHex(firmwareSha256),
    ...(ownerKey && { owner: didKey(ownerKey) }),
    ...(text !== undefined && { text }),
  };
}
