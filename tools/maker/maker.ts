import { explain, type Failure } from "tallystick/codes/codes";
import { didKey } from "tallystick/identity/key";
import {
  MAKER_STATEMENT_MAX_BYTES,
  makeMakerStatement,
  readMakerStatement,
  type Vouched,
  verifyMakerStatement,
} from "tallystick/record/maker";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { readInput } from "../file.js";
import { makeKeyFile, readKeyFile, writeStatementFile } from "../key-file.js";
import { makerJson, makerLines } from "./lines.js";

/** What `tallystick maker` does; each answers with the exit status: 0 done, 1 refused or false, 2 unreadable input. */

export function key(out: string): number {
  const made = makeKeyFile(out);
  if (!made.ok) return refuse(made.failure);
  console.log(didKey(made.value.publicKey));
  return 0;
}

export function vouch(keyFile: string, vouched: Vouched, out: string): number {
  const maker = readKeyFile(keyFile);
  if (!maker.ok) return refuse(maker.failure);
  let fault: Failure | undefined;
  const statement = makeMakerStatement(maker.value.kid, vouched, (bytes) => {
    const signed = maker.value.sign(bytes);
    if (signed.ok) return signed.value;
    fault = signed.failure;
    return new Uint8Array(64);
  });
  if (fault) return refuse(fault);
  // What is handed out is what a reader takes.
  const read = readMakerStatement(statement);
  if (!read.ok) return refuse(read.failure);
  if (out === "-") {
    process.stdout.write(statement);
    return 0;
  }
  const written = writeStatementFile(out, statement);
  if (!written.ok) return refuse(written.failure);
  console.log([`${didKey(maker.value.publicKey)} vouches for`, ...indented(makerLines(read.value))].join("\n"));
  return 0;
}

export function show(file: string, maker: Uint8Array | undefined, asJson: boolean): number {
  const input = readInput(file, MAKER_STATEMENT_MAX_BYTES);
  const read = input.ok ? readMakerStatement(input.value) : input;
  if (!read.ok) return refuse(read.failure, 2);
  const verified = maker && verifyMakerStatement(relayCrypto, read.value, [maker]);
  const signature = verified ? (verified.ok ? "proved" : "false") : "open";
  if (asJson) console.log(JSON.stringify({ ...makerJson(read.value), signature }));
  else {
    const by = maker ? `signed by ${didKey(maker)}` : "not checked: name the maker with --maker";
    console.log([...makerLines(read.value), ...(signature === "false" ? [] : [by])].join("\n"));
  }
  return verified && !verified.ok ? refuse(verified.failure) : 0;
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function refuse(failure: Failure, status = 1): number {
  console.error(`tallystick maker: ${explain(failure)}`);
  return status;
}
