import { equalBytes, toHex } from "tallystick/bytes/bytes";
import { fail, ok, type Result } from "tallystick/codes/codes";
import { type EvmAnchor, encodeEvmAnchor, verifyEvmAnchor } from "tallystick/evidence/evm";
import { encodeCbor } from "tallystick/record/cbor";
import {
  type Abi,
  bytesToHex,
  encodeDeployData,
  encodeFunctionData,
  getContractAddress,
  type Hex,
  hexToBytes,
  keccak256,
  type TransactionSerializable,
} from "viem";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";
import { bytesOf, type HeaderBlock, numberOf, readHeaderBlock } from "./evm-block.js";
import { type EvmFee, marketFee, outbidFee, readFee, writeFee } from "./evm-fee.js";
import type {
  Block,
  Checkpoint,
  Found,
  Ledger,
  LedgerIdentity,
  LedgerView,
  Plan,
  Proof,
  Sent,
  SignedTransaction,
} from "./ledger.js";
import { isObject, JsonRpc } from "./rpc.js";

/** What hosts/evm compiles, handed in: this host does not import that one. */
export interface EvmArtifact {
  readonly abi: readonly unknown[];
  readonly bytecode: Hex;
}

export interface EvmLedgerOptions {
  readonly rpcUrl: string;
  /** The relay's ledger key (key.ts). */
  readonly key: Hex;
  readonly artifact: EvmArtifact;
  /**
   * The anchor contract, deployed by its operator for this key's account. Absent: the contract is the first
   * transaction (nonce 0) of this key, deployed when missing; its address follows from the key alone, so a crash
   * between any two steps can deploy it only once.
   */
  readonly contract?: Hex;
  /** Asks a development chain for funds (anvil_setBalance) where the account has less than it needs. */
  readonly developmentFunds?: boolean;
  /** The most that a unit of gas may cost, in wei; above it the outbox waits. */
  readonly maxFeePerGas?: bigint;
  readonly timeoutMs?: number;
}

/** Measured: the first anchor 71 k, each later one 37 k. */
const SUBMIT_GAS = 120_000n;
/** Measured: 0.42 M. */
const DEPLOY_GAS = 1_000_000n;
const DEFAULT_MAX_FEE_PER_GAS = 500_000_000_000n;
const DEVELOPMENT_BALANCE = 10n ** 20n;
/** How often one view is read again when a block arrives in the middle of it. */
const VIEW_TRIES = 3;

const SIZE_SLOT: Hex = `0x${"00".repeat(32)}`;
const ROOT_SLOT: Hex = `0x${"00".repeat(31)}01`;

/** Anchors in an Anchor contract of any EVM chain: public, permissioned, or the development chain. */
export class EvmLedger implements Ledger {
  readonly name: string;
  /** The contract's address, lower case. */
  readonly contract: Hex;
  /** The account of the ledger key. */
  readonly account: Hex;

  private readonly rpc: JsonRpc;
  private readonly signer: PrivateKeyAccount;
  private readonly abi: Abi;
  private chainId: number | undefined;

  constructor(private readonly options: EvmLedgerOptions) {
    this.rpc = new JsonRpc({
      url: options.rpcUrl,
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    });
    this.signer = privateKeyToAccount(options.key);
    this.account = this.signer.address.toLowerCase() as Hex;
    this.abi = options.artifact.abi as Abi;
    const contract = options.contract ?? getContractAddress({ from: this.signer.address, nonce: 0n });
    this.contract = contract.toLowerCase() as Hex;
    this.name = `evm:${this.contract}`;
  }

  async prepare(): Promise<Result<LedgerIdentity>> {
    if (this.options.developmentFunds === true) {
      const funded = await this.fund();
      if (!funded.ok) return funded;
    }
    const identity = await this.identify();
    if (!identity.ok) return identity;
    return identity.value ? ok(identity.value) : this.deploy();
  }

  /** Asks, and makes nothing: which ledger it is, and its newest anchor; undefined where there is no contract yet. */
  async newest(): Promise<Result<{ readonly identity: LedgerIdentity; readonly view: LedgerView } | undefined>> {
    const identity = await this.identify();
    if (!identity.ok || !identity.value) return identity.ok ? ok(undefined) : identity;
    const view = await this.view();
    return view.ok ? ok({ identity: identity.value, view: view.value }) : view;
  }

  /** Undefined where the chain has no contract at the address. */
  private async identify(): Promise<Result<LedgerIdentity | undefined>> {
    const chainId = await this.rpc.call("eth_chainId", []);
    if (!chainId.ok) return chainId;
    const id = numberOf(chainId.value);
    if (id === undefined) return lies("eth_chainId is no quantity");
    const genesis = await this.block("0x0");
    if (!genesis.ok) return genesis;
    this.chainId = id;
    const code = await this.rpc.call("eth_getCode", [this.contract, "latest"]);
    if (!code.ok) return code;
    if (code.value === "0x") return ok(undefined);
    const relay = await this.rpc.call("eth_call", [
      { to: this.contract, data: encodeFunctionData({ abi: this.abi, functionName: "relay" }) },
      "latest",
    ]);
    if (!relay.ok) return relay;
    if (relay.value !== `0x${"00".repeat(12)}${this.account.slice(2)}`) {
      const detail = `the contract ${this.contract} belongs to another relay than ${this.account}: ${String(relay.value)}`;
      return fail("LEDGER_REJECTED", detail);
    }
    return ok({ chain: `eip155:${id}:${genesis.value.hash}`, place: this.contract });
  }

  async view(): Promise<Result<LedgerView>> {
    for (let tries = 0; tries < VIEW_TRIES; tries++) {
      const latest = await this.block("latest");
      if (!latest.ok) return latest;
      const finalized = await this.block("finalized");
      if (!finalized.ok) return finalized;
      const at = quantity(latest.value.number);
      const nonce = await this.rpc.call("eth_getTransactionCount", [this.account, at]);
      if (!nonce.ok) return nonce;
      const held = await this.held(at);
      if (!held.ok) return held;
      // All of it was read at one block only if that block is still the one at its number.
      const again = await this.block(at);
      if (!again.ok) return again;
      if (again.value.hash !== latest.value.hash) continue;
      const nextSlot = numberOf(nonce.value);
      if (nextSlot === undefined) return lies("a nonce that is no quantity");
      if (finalized.value.number > latest.value.number) {
        return lies(`block ${finalized.value.number} final before it exists, the latest is ${latest.value.number}`);
      }
      return ok({ latest: bare(latest.value), finalized: bare(finalized.value), held: held.value, nextSlot });
    }
    return fail("LEDGER_UNREACHABLE", `the chain changed ${VIEW_TRIES} times while it was read`);
  }

  async sign(plan: Plan): Promise<Result<SignedTransaction>> {
    const fee = await this.fee(plan.outbid);
    if (!fee.ok) return fee;
    const { oldSize, checkpoint } = plan;
    const data = encodeFunctionData({
      abi: this.abi,
      functionName: "submit",
      args: [BigInt(oldSize), BigInt(checkpoint.size), bytesToHex(checkpoint.root)],
    });
    return this.signTransaction({ to: this.contract, data, gas: SUBMIT_GAS, nonce: plan.slot }, fee.value);
  }

  async send(transaction: SignedTransaction): Promise<Result<Sent>> {
    const answer = await this.rpc.ask("eth_sendRawTransaction", [bytesToHex(transaction.raw)]);
    if (!answer.ok) return answer;
    if (!("error" in answer.value)) {
      return answer.value.value === transaction.hash
        ? ok("accepted")
        : lies(`sent ${transaction.hash}, the node answers ${String(answer.value.value)}`);
    }
    // Nodes agree on no error codes here; these words are common to geth, Besu, Nethermind, Erigon, reth and anvil.
    const { message } = answer.value.error;
    if (/already (known|imported)|known transaction/i.test(message)) return ok("known");
    if (/nonce.*too low|nonce.*(already|has) been used|old nonce/i.test(message)) return ok("spent");
    if (/underpriced|fee too low to (replace|compete)/i.test(message)) return ok("underpriced");
    return fail("LEDGER_REJECTED", `transaction ${transaction.hash}: ${message}`);
  }

  async find(hash: string): Promise<Result<Found>> {
    const receipt = await this.rpc.call("eth_getTransactionReceipt", [hash]);
    if (!receipt.ok) return receipt;
    if (isObject(receipt.value)) {
      const number = numberOf(receipt.value["blockNumber"]);
      const status = numberOf(receipt.value["status"]);
      if (number === undefined || status === undefined) return lies(`a receipt of ${hash} without block or status`);
      const block = await this.block(quantity(number));
      if (!block.ok) return block;
      if (block.value.hash !== receipt.value["blockHash"]) {
        return lies(`${hash} was in a block ${number} that is not on the chain`);
      }
      return ok({ where: "block", block: bare(block.value), succeeded: status === 1 });
    }
    const transaction = await this.rpc.call("eth_getTransactionByHash", [hash]);
    if (!transaction.ok) return transaction;
    return ok({ where: isObject(transaction.value) ? "pool" : "nowhere" });
  }

  async prove(checkpoint: Checkpoint): Promise<Result<Proof | undefined>> {
    const chainId = this.chainId;
    if (chainId === undefined) return fail("LEDGER_UNREACHABLE", "the ledger has not been prepared");
    const finalized = await this.block("finalized");
    if (!finalized.ok) return finalized;
    const { number, hash, encoded } = finalized.value;
    const answer = await this.rpc.ask("eth_getProof", [this.contract, [SIZE_SLOT, ROOT_SLOT], quantity(number)]);
    if (!answer.ok) return answer;
    if ("error" in answer.value) {
      return fail("LEDGER_PROOF_UNAVAILABLE", `at block ${number}: ${answer.value.error.message}`);
    }
    const proof = readProof(answer.value.value);
    if (!proof.ok) return proof;
    const { size, root, ...proofs } = proof.value;
    if (size < checkpoint.size) return ok(undefined);
    if (size > checkpoint.size || !equalBytes(root, checkpoint.root)) {
      return lies(`expected the checkpoint of size ${checkpoint.size} to be final, block ${number} holds size ${size}`);
    }
    const contract = hexToBytes(this.contract);
    const anchor: EvmAnchor = { chainId, contract, size, root, headers: [encoded], ...proofs };
    const verified = verifyEvmAnchor(anchor, { chainId, contract, blockHash: hexToBytes(hash as Hex) });
    if (!verified.ok) return lies(`its proof at block ${number} does not verify: ${verified.failure.detail}`);
    return ok({ anchor: encodeCbor(encodeEvmAnchor(anchor)), block: { number, hash } });
  }

  close(): void {
    this.rpc.close();
  }

  private async block(which: string): Promise<Result<HeaderBlock>> {
    const answer = await this.rpc.call("eth_getBlockByNumber", [which, false]);
    if (!answer.ok) return answer;
    const block = readHeaderBlock(answer.value);
    if (block.ok && which.startsWith("0x") && block.value.number !== Number(which)) {
      return lies(`asked for block ${Number(which)}, got ${block.value.number}`);
    }
    return block;
  }

  private async held(at: string): Promise<Result<Checkpoint>> {
    const size = await this.rpc.call("eth_getStorageAt", [this.contract, SIZE_SLOT, at]);
    if (!size.ok) return size;
    const root = await this.rpc.call("eth_getStorageAt", [this.contract, ROOT_SLOT, at]);
    if (!root.ok) return root;
    const sizeBytes = bytesOf(size.value, 32);
    const rootBytes = bytesOf(root.value, 32);
    const held = sizeBytes === undefined ? Number.NaN : Number(BigInt(`0x${toHex(sizeBytes)}`));
    if (rootBytes === undefined || !Number.isSafeInteger(held)) return lies("a slot that is no 32 bytes or no size");
    return ok({ size: held, root: rootBytes });
  }

  private async fund(): Promise<Result<void>> {
    const balance = await this.rpc.call("eth_getBalance", [this.account, "latest"]);
    if (!balance.ok) return balance;
    if (typeof balance.value !== "string" || !/^0x[0-9a-f]+$/i.test(balance.value)) return lies("no balance");
    if (BigInt(balance.value) >= DEVELOPMENT_BALANCE / 2n) return ok(undefined);
    const set = await this.rpc.call("anvil_setBalance", [this.account, `0x${DEVELOPMENT_BALANCE.toString(16)}`]);
    return set.ok ? ok(undefined) : set;
  }

  /** Sends the deployment, the same one however often; the ledger is ready once a later call finds the code. */
  private async deploy(): Promise<Result<never>> {
    if (this.options.contract !== undefined) {
      return fail("LEDGER_CHANGED", `there is no contract at ${this.contract} on this chain`);
    }
    const nonce = await this.rpc.call("eth_getTransactionCount", [this.account, "latest"]);
    if (!nonce.ok) return nonce;
    if (numberOf(nonce.value) !== 0) {
      return fail("LEDGER_CHANGED", `the account ${this.account} was used before its contract was deployed`);
    }
    const fee = await this.fee();
    if (!fee.ok) return fee;
    const { abi, options } = this;
    const data = encodeDeployData({ abi, bytecode: options.artifact.bytecode, args: [this.signer.address] });
    const signed = await this.signTransaction({ data, gas: DEPLOY_GAS, nonce: 0 }, fee.value);
    if (!signed.ok) return signed;
    const sent = await this.send(signed.value);
    if (!sent.ok) return sent;
    return fail("LEDGER_UNREACHABLE", `the contract ${this.contract} is being deployed`);
  }

  private async fee(outbid?: string): Promise<Result<EvmFee>> {
    const market = await marketFee(this.rpc, () => this.block("latest"));
    if (!market.ok) return market;
    const fee = outbid === undefined ? market.value : outbidFee(market.value, readFee(outbid));
    const cap = this.options.maxFeePerGas ?? DEFAULT_MAX_FEE_PER_GAS;
    if (fee.maxFeePerGas > cap) {
      return fail("LEDGER_REJECTED", `gas would cost ${fee.maxFeePerGas} wei, the most allowed is ${cap}`);
    }
    return ok(fee);
  }

  private async signTransaction(
    what: { to?: Hex; data: Hex; gas: bigint; nonce: number },
    fee: EvmFee,
  ): Promise<Result<SignedTransaction>> {
    const chainId = this.chainId;
    if (chainId === undefined) return fail("LEDGER_UNREACHABLE", "the ledger has not been prepared");
    const transaction: TransactionSerializable =
      fee.tipPerGas === undefined
        ? { ...what, type: "legacy", chainId, gasPrice: fee.maxFeePerGas }
        : {
            ...what,
            type: "eip1559",
            chainId,
            ...{ maxFeePerGas: fee.maxFeePerGas, maxPriorityFeePerGas: fee.tipPerGas },
          };
    const raw = await this.signer.signTransaction(transaction);
    return ok({ hash: keccak256(raw), raw: hexToBytes(raw), fee: writeFee(fee) });
  }
}

interface ProofAnswer extends Checkpoint {
  readonly accountProof: Uint8Array[];
  readonly sizeProof: Uint8Array[];
  readonly rootProof: Uint8Array[];
}

/** EIP-1186's answer, its shape only: verifyEvmAnchor judges it. */
function readProof(answer: unknown): Result<ProofAnswer> {
  if (!isObject(answer) || !Array.isArray(answer["storageProof"])) return lies("eth_getProof gave no proof");
  const [size, root] = answer["storageProof"] as unknown[];
  const accountProof = nodes(answer["accountProof"]);
  if (!isObject(size) || !isObject(root) || accountProof === undefined) return lies("eth_getProof gave no proof");
  const sizeProof = nodes(size["proof"]);
  const rootProof = nodes(root["proof"]);
  const sizeValue = numberOf(size["value"]);
  const rootValue = typeof root["value"] === "string" && /^0x[0-9a-fA-F]{1,64}$/.test(root["value"]) && root["value"];
  if (sizeProof === undefined || rootProof === undefined || sizeValue === undefined || !rootValue) {
    return lies("eth_getProof gave no values");
  }
  const rootBytes = hexToBytes(`0x${rootValue.slice(2).padStart(64, "0")}`);
  return ok({ size: sizeValue, root: rootBytes, accountProof, sizeProof, rootProof });
}

function nodes(value: unknown): Uint8Array[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const all = value.map((node) => bytesOf(node));
  return all.every((node) => node !== undefined) ? all : undefined;
}

function bare({ number, hash }: Block): Block {
  return { number, hash };
}

function quantity(number: number): Hex {
  return `0x${number.toString(16)}`;
}

function lies(detail: string): Result<never> {
  return fail("LEDGER_LIES", detail);
}
