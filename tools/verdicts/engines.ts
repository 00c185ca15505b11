import { webcrypto } from "node:crypto";
import { fileURLToPath } from "node:url";
import sodium from "sodium-native";
import type { AsyncEd25519Engine } from "tallystick/identity/crypto";
import { verifySignatureLater } from "tallystick/identity/ed25519";
import { tweetnaclEngine } from "tallystick/identity/tweetnacl";
import { type SubtleEd25519, webCryptoEngine } from "tallystick/identity/webcrypto";
import { nodeEngine, sodiumEngine } from "../../hosts/relay/crypto.js";
import { Board, loadEngine } from "../../hosts/simulator/board.js";
import { buildImage, modulesOf } from "../../hosts/simulator/image.js";
import { ensureEngine } from "../engine/build.js";

/** Everything that verifies signatures somewhere in Tallystick, each by the one rule. */
export interface Verifier {
  readonly name: string;
  verdict(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean | Promise<boolean>;
}

/** Where the rule comes from: libsodium alone, with nothing of ours in front. */
export function libsodium(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

const ENGINES: readonly AsyncEd25519Engine[] = [
  sodiumEngine,
  nodeEngine,
  tweetnaclEngine,
  webCryptoEngine(webcrypto.subtle as unknown as SubtleEd25519),
];

/** Names in the order of `verifiers`. */
export const VERIFIER_NAMES: readonly string[] = [...ENGINES.map(({ name }) => name), "native C on XS"];

export async function verifiers(): Promise<readonly Verifier[]> {
  const onNode = ENGINES.map((engine) => ({
    name: engine.name,
    verdict: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) =>
      verifySignatureLater(engine, signature, message, publicKey),
  }));
  return [...onNode, await onXs()];
}

/** The rule as a board runs it: three byte strings, each behind its length in two bytes; the answer is one byte. */
const MAIN = `
import { call, onEvent } from "wire";
import * as native from "tallystick-native";
import { createCrypto } from "tallystick/board/crypto";
import { verifySignature } from "tallystick/identity/ed25519";
const { ed25519 } = createCrypto(native);
onEvent((event) => {
  const all = new Uint8Array(event), parts: Uint8Array[] = [];
  for (let at = 0; at < all.length; ) { const n = all[at] | (all[at + 1] << 8); parts.push(all.subarray(at + 2, at + 2 + n)); at += 2 + n; }
  const [signature, message, publicKey] = parts;
  call(16, Uint8Array.of(verifySignature(ed25519, signature, message, publicKey) ? 1 : 0));
});
`;

async function onXs(): Promise<Verifier> {
  const folder = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const crypto = modulesOf(folder("hosts/board"), "tallystick/board").filter(
    ({ name }) => name === "tallystick/board/crypto",
  );
  const identity = modulesOf(folder("modules/identity"), "tallystick/identity").filter(
    ({ name }) => name === "tallystick/identity/ed25519",
  );
  let answer: number | undefined;
  const engine = loadEngine(await ensureEngine());
  const modules = [...crypto, ...identity, { name: "main", path: "main.ts", text: MAIN }];
  const board = new Board({
    engine,
    image: await buildImage({ engine, modules }),
    main: "main",
    world: {
      call(operation, sent) {
        if (operation === 16) answer = sent[0];
        return undefined;
      },
    },
  });
  board.start();
  return {
    name: VERIFIER_NAMES.at(-1)!,
    verdict(...parts) {
      answer = undefined;
      const lengths = (part: Uint8Array) => Uint8Array.of(part.length & 255, part.length >> 8);
      board.event(Buffer.concat(parts.flatMap((part) => [lengths(part), part])));
      if (answer === undefined || board.end !== undefined)
        throw new Error(`the board gave no answer: ${board.end?.message ?? ""}`);
      return answer === 1;
    },
  };
}
