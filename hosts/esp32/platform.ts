import type { Platform } from "tallystick/device/platform";
import type { Crypto, Entropy } from "tallystick/identity/crypto";
import { eitherSeeds, fusedSeeds, storedSeeds } from "tallystick/identity/seeds";
import type { I2COptions } from "tallystick/sensors/sensor";
import { board } from "./board.js";
import { boardClock, boardTimers } from "./clock.js";
import { openFuses } from "./efuse.js";
import { openPartition } from "./flash.js";
import type { RelayOrigin } from "./http.js";
import { openKeyStore } from "./keystore.js";
import type { Network } from "./network.js";
import { adoptStatement } from "./statement.js";
import { httpTransport } from "./transport.js";

/** Label of the journal's data partition in partitions.csv. */
const CHAIN_PARTITION = "chain";
const KEY_NAMESPACE = "tallystick";

const boardCrypto: Crypto = {
  sha256: (bytes) => new Uint8Array(board.sha256(bytes)),
  ed25519: {
    name: "libsodium",
    publicKey: (seed) => new Uint8Array(board.publicKey(seed)),
    sign: (message, seed, publicKey) => new Uint8Array(board.sign(message, seed, publicKey)),
    equation: (signature, message, publicKey) => board.verify(signature, message, publicKey),
  },
};

const boardEntropy: Entropy = { bytes: (length) => new Uint8Array(board.entropy(length)) };

export interface BoardOptions {
  readonly version: string;
  readonly relay: RelayOrigin;
  readonly network: Network;
}

/** The board as a device sees it. Opens partition and key store; starts neither network nor bus. */
export function boardPlatform({ version, relay, network }: BoardOptions): Platform {
  const keys = openKeyStore(KEY_NAMESPACE);
  adoptStatement(keys);
  const fuses = openFuses();
  return {
    model: board.model(),
    firmware: { version, sha256: new Uint8Array(board.firmwareSha256()) },
    chip: new Uint8Array(board.chipId()),
    resetReason: board.resetReason(),
    flash: openPartition(CHAIN_PARTITION),
    keys,
    entropy: boardEntropy,
    // A board that has stored a seed before its fuses held a key goes on with that one.
    ...(fuses && { seeds: eitherSeeds(fusedSeeds(fuses), storedSeeds(boardEntropy)) }),
    crypto: boardCrypto,
    clock: boardClock(),
    timers: boardTimers,
    transport: httpTransport(relay, network),
    // The SDK's typings describe what its I2C takes in the end; its provider holds the class and the pins (ECMA-419 §21).
    i2c: device.I2C.default as unknown as I2COptions,
    print: (line) => trace(`${line}\n`),
  };
}
