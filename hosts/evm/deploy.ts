/** Deploys the anchor contract to a chain whose operator runs it: once a log and chain, by hand or by a tool. */
import { fail, ok, type Result } from "tallystick/codes/codes";
import {
  type Abi,
  type Address,
  BaseError,
  createPublicClient,
  createWalletClient,
  defineChain,
  type Hex,
  http,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import type { Artifact } from "./compile.js";

export interface DeployOptions {
  readonly rpcUrl: string;
  /** The account that pays, 32 bytes in hexadecimal. It gets no right over the contract. */
  readonly payerKey: Hex;
  /** The one account that may submit from then on. */
  readonly relay: Address;
  readonly artifact: Artifact;
  /** How long to wait for the deployment to be included. */
  readonly timeoutMs?: number;
}

export interface Deployment {
  readonly chainId: number;
  readonly contract: Address;
  readonly transaction: Hex;
  readonly blockNumber: number;
}

/** Longest wait for one answer of the node. */
const REQUEST_TIMEOUT_MS = 10_000;
const INCLUSION_TIMEOUT_MS = 120_000;

/**
 * Sends the deployment and waits until it is included. Not repeated by itself: where it fails after sending, the
 * detail names the transaction, to be looked up before another one is paid for. Fails with CONTRACT_DEPLOY_FAILED.
 */
export async function deployAnchor(options: DeployOptions): Promise<Result<Deployment>> {
  const { rpcUrl, payerKey, relay, artifact } = options;
  const transport = http(rpcUrl, { timeout: REQUEST_TIMEOUT_MS, retryCount: 2 });
  const abi = artifact.abi as Abi;
  let transaction: Hex | undefined;
  try {
    const account = privateKeyToAccount(payerKey);
    const chainId = await createPublicClient({ transport }).getChainId();
    const chain = defineChain({
      id: chainId,
      name: `eip155:${chainId}`,
      nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
      rpcUrls: { default: { http: [rpcUrl] } },
    });
    const client = createPublicClient({ chain, transport, pollingInterval: 250 });
    const wallet = createWalletClient({ account, chain, transport });
    transaction = await wallet.deployContract({ abi, bytecode: artifact.bytecode, args: [relay] });
    const receipt = await client.waitForTransactionReceipt({
      hash: transaction,
      timeout: options.timeoutMs ?? INCLUSION_TIMEOUT_MS,
    });
    if (receipt.status !== "success" || !receipt.contractAddress) {
      return fail("CONTRACT_DEPLOY_FAILED", `the transaction ${transaction} was included and reverted`);
    }
    const registered = await client.readContract({ address: receipt.contractAddress, abi, functionName: "relay" });
    if (String(registered).toLowerCase() !== relay.toLowerCase()) {
      return fail("CONTRACT_DEPLOY_FAILED", `expected the relay ${relay}, the contract answers ${String(registered)}`);
    }
    return ok({
      chainId,
      contract: receipt.contractAddress,
      transaction,
      blockNumber: Number(receipt.blockNumber),
    });
  } catch (error) {
    const what =
      error instanceof BaseError ? error.shortMessage : error instanceof Error ? error.message : String(error);
    return fail("CONTRACT_DEPLOY_FAILED", transaction === undefined ? what : `after sending ${transaction}: ${what}`);
  }
}
