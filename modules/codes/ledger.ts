import { entry } from "./entry.js";

/** Codes about ledgers and anchors; part of the one table. */
export const LEDGER_CODES = Object.freeze({
  ANCHOR_MALFORMED: entry(400, "the bytes are not an anchor of this kind", "compare them with modules/evidence/EVM.md"),
  ANCHOR_FOREIGN: entry(
    422,
    "the anchor is of another chain or contract than the policy names",
    "check the policy; an anchor elsewhere proves nothing about the ledger that you trust",
  ),
  ANCHOR_UNTRUSTED: entry(
    422,
    "the anchor ends in a block that the policy does not trust",
    "look the block up in a node or explorer that you trust and name its hash in the policy",
  ),
  ANCHOR_FALSE: entry(
    422,
    "the anchor's proof does not lead from the trusted block to the claimed checkpoint",
    "fetch the evidence again; it was changed, or it was never on the ledger",
  ),
  CONTRACT_COMPILE_FAILED: entry(500, "the anchor contract could not be compiled", "run npm ci and start again"),
  CONTRACT_DEPLOY_FAILED: entry(
    502,
    "the anchor contract could not be deployed",
    "check the ledger's address and the payer's funds",
  ),
  LEDGER_BINARY_MISSING: entry(
    500,
    "the development chain's program is not installed",
    "run npm ci without --omit=optional on a platform that @foundry-rs/anvil supports, or name a chain of your own",
  ),
  LEDGER_CHANGED: entry(
    409,
    "this is another chain than the one that the anchors are on",
    "bring back the chain's state, or start with a new data folder",
  ),
  LEDGER_CONFLICT: entry(
    409,
    "the ledger holds a checkpoint that this log did not sign",
    "stop the relay and find out who else uses its ledger key; nothing is submitted until an operator decides",
  ),
  LEDGER_KEY_UNREADABLE: entry(
    500,
    "the ledger key cannot be read",
    "restore the key file; no new key is ever made because one cannot be read",
  ),
  LEDGER_LIES: entry(
    502,
    "the ledger's node contradicts itself",
    "nothing is believed from such answers; use another node if it lasts",
  ),
  LEDGER_PROOF_UNAVAILABLE: entry(
    502,
    "the ledger's node does not give the proof yet",
    "nothing: it is asked again at a later block; use a node that serves eth_getProof if it lasts",
  ),
  LEDGER_REJECTED: entry(502, "the ledger refused the transaction", "check the funds of the relay's ledger account"),
  LEDGER_START_FAILED: entry(500, "the development chain did not start", "see what the chain printed"),
  LEDGER_STATE_DAMAGED: entry(
    500,
    "the development chain's state cannot be read, and the one kept before lacks final anchors",
    "restore the folder from a backup, or move it away and start with a new data folder",
  ),
  LEDGER_UNREACHABLE: entry(
    502,
    "the ledger's node does not answer",
    "nothing is lost: the outbox goes on when it answers; check the node",
  ),
});
