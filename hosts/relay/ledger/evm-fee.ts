import { fail, ok, type Result } from "tallystick/codes/codes";
import type { HeaderBlock } from "./evm-block.js";
import type { JsonRpc } from "./rpc.js";

/** What a unit of gas is paid, in wei. Without a tip it is a legacy transaction's gas price (chains before London). */
export interface EvmFee {
  readonly maxFeePerGas: bigint;
  readonly tipPerGas?: bigint;
}

/** Six full blocks in a row raise the base fee by 12.5 % each, to just above double. */
const BASE_FEE_FACTOR = 2n;

/** What a transaction has to pay now. */
export async function marketFee(rpc: JsonRpc, latest: () => Promise<Result<HeaderBlock>>): Promise<Result<EvmFee>> {
  const block = await latest();
  if (!block.ok) return block;
  const { baseFeePerGas } = block.value;
  const answer = await rpc.call(baseFeePerGas === undefined ? "eth_gasPrice" : "eth_maxPriorityFeePerGas", []);
  if (!answer.ok) return answer;
  if (typeof answer.value !== "string" || !/^0x[0-9a-fA-F]{1,32}$/.test(answer.value)) {
    return fail("LEDGER_LIES", "a fee that is no quantity");
  }
  const price = BigInt(answer.value);
  if (baseFeePerGas === undefined) return ok({ maxFeePerGas: price });
  return ok({ maxFeePerGas: baseFeePerGas * BASE_FEE_FACTOR + price, tipPerGas: price });
}

/** At least the market's fee, and at least 12.5 % above the old one in both parts: nodes want 10 %, some 12.5 %. */
export function outbidFee(market: EvmFee, old: EvmFee): EvmFee {
  const maxFeePerGas = larger(market.maxFeePerGas, bump(old.maxFeePerGas));
  if (market.tipPerGas === undefined) return { maxFeePerGas };
  return { maxFeePerGas, tipPerGas: larger(market.tipPerGas, bump(old.tipPerGas ?? 0n)) };
}

export function writeFee(fee: EvmFee): string {
  return fee.tipPerGas === undefined ? `${fee.maxFeePerGas}` : `${fee.maxFeePerGas}/${fee.tipPerGas}`;
}

/** Reads what `writeFee` wrote; throws on anything else, since only our own table holds it. */
export function readFee(text: string): EvmFee {
  const [max, tip] = text.split("/");
  return tip === undefined ? { maxFeePerGas: BigInt(max!) } : { maxFeePerGas: BigInt(max!), tipPerGas: BigInt(tip) };
}

function bump(fee: bigint): bigint {
  return (fee * 1125n) / 1000n + 1n;
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
