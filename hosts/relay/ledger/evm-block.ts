import { keccak_256 } from "@noble/hashes/sha3.js";
import { equalBytes, fromHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { HEADER_MAX_BYTES } from "tallystick/evidence/evm";
import { type Hex, hexToBytes, toRlp } from "viem";
import type { Block } from "./ledger.js";
import { isObject } from "./rpc.js";

/** A block's header as RPC gives it, encoded again and checked against the hash that the node states. */
export interface HeaderBlock extends Block {
  readonly encoded: Uint8Array;
  readonly baseFeePerGas: bigint | undefined;
}

/**
 * Fields of a header in order (Yellow Paper §4.4.2, then London, Shanghai, Cancun, Prague, Amsterdam). The optional
 * ones are there from some fork on: the first that is absent ends the header. `q` is a quantity, `b` bytes.
 */
const FIELDS: readonly (readonly [name: string, kind: "q" | "b"])[] = [
  ["parentHash", "b"],
  ["sha3Uncles", "b"],
  ["miner", "b"],
  ["stateRoot", "b"],
  ["transactionsRoot", "b"],
  ["receiptsRoot", "b"],
  ["logsBloom", "b"],
  ["difficulty", "q"],
  ["number", "q"],
  ["gasLimit", "q"],
  ["gasUsed", "q"],
  ["timestamp", "q"],
  ["extraData", "b"],
  ["mixHash", "b"],
  ["nonce", "b"],
  ["baseFeePerGas", "q"],
  ["withdrawalsRoot", "b"],
  ["blobGasUsed", "q"],
  ["excessBlobGas", "q"],
  ["parentBeaconBlockRoot", "b"],
  ["requestsHash", "b"],
  ["blockAccessListHash", "b"],
];

/** Reads what eth_getBlockByNumber answered; LEDGER_LIES where the header does not hash to the stated hash. */
export function readHeaderBlock(answer: unknown): Result<HeaderBlock> {
  if (!isObject(answer)) return fail("LEDGER_LIES", "expected a block, found none");
  const items: Hex[] = [];
  for (const [name, kind] of FIELDS) {
    const value = answer[name];
    if (value === undefined || value === null) break;
    const item = kind === "q" ? quantityBytes(value) : hexBytes(value);
    if (item === undefined) return fail("LEDGER_LIES", `a block's ${name} is no ${kind === "q" ? "quantity" : "hex"}`);
    items.push(item);
  }
  const encoded = hexToBytes(toRlp(items));
  const hash = bytesOf(answer["hash"], 32);
  const number = numberOf(answer["number"]);
  if (hash === undefined || number === undefined || encoded.length > HEADER_MAX_BYTES) {
    return fail("LEDGER_LIES", "a block without hash or number, or too long a header");
  }
  if (!equalBytes(keccak_256(encoded), hash)) {
    return fail("LEDGER_LIES", `the header of block ${number} does not hash to ${String(answer["hash"])}`);
  }
  const baseFee = answer["baseFeePerGas"];
  const baseFeePerGas = typeof baseFee === "string" ? BigInt(baseFee) : undefined;
  return ok({ number, hash: String(answer["hash"]).toLowerCase(), encoded, baseFeePerGas });
}

/** A quantity of the RPC as a number up to 2⁵³−1. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value !== "string" || !/^0x[0-9a-fA-F]{1,14}$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Hexadecimal of the RPC as bytes, of exactly `length` where it is given. */
export function bytesOf(value: unknown, length?: number): Uint8Array | undefined {
  if (typeof value !== "string" || !value.startsWith("0x")) return undefined;
  const bytes = fromHex(value.slice(2));
  return bytes === undefined || (length !== undefined && bytes.length !== length) ? undefined : bytes;
}

/** RLP's scalar: without leading zeros, zero is the empty string. */
function quantityBytes(value: unknown): Hex | undefined {
  if (typeof value !== "string" || !/^0x[0-9a-fA-F]{1,64}$/.test(value)) return undefined;
  const digits = value.slice(2).replace(/^0+/, "");
  return `0x${digits.length % 2 === 0 ? digits : `0${digits}`}`;
}

function hexBytes(value: unknown): Hex | undefined {
  return bytesOf(value) === undefined ? undefined : (value as Hex);
}
