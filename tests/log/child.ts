/** A process that appends to a log on a real disk until it is killed: `child.ts <folder>`. Says each published size. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { Log } from "../../hosts/relay/log/log.js";
import type { LoggedEntry } from "../../hosts/relay/log/sequencer.js";
import { naiveLeaf } from "../merkle/naive.js";
import { entropy, entryOf, OPENING, ORIGIN } from "./bench.js";

const folder = process.argv[2]!;
/** The source: entry n is always the same, and what was integrated is a file that only grows. */
const told = join(folder, "told");
if (!existsSync(told)) writeFileSync(told, "");

const toldSize = () => readFileSync(told, "utf8").split("\n").filter(Boolean).length;
let available = Math.max(0, toldSize());
const source = {
  integratedSize: () => toldSize() + 1,
  next: (fromIndex: number) =>
    Array.from({ length: Math.max(0, available - (fromIndex - 1)) }, (_, i) => {
      const bytes = entryOf(fromIndex - 1 + i);
      return { id: naiveLeaf(bytes), bytes };
    }),
  integrated(fromIndex: number, entries: readonly LoggedEntry[]) {
    const size = toldSize();
    const fresh = entries.slice(size + 1 - fromIndex);
    appendFileSync(told, fresh.map(({ id }) => `${Buffer.from(id).toString("hex")}\n`).join(""));
  },
};

const log = await Log.open(folder, { origin: ORIGIN, crypto: relayCrypto, entropy, source, opening: OPENING });
if (!log.ok) {
  process.stdout.write(`${log.failure.code} ${log.failure.detail}\n`);
  process.exit(1);
}
process.stdout.write(`open ${log.value.head.size}\n`);
for (let batch = 0; batch < 2000; batch++) {
  available = log.value.head.size - 1 + 7;
  const result = await log.value.sequence();
  if (!result.ok) throw new Error(`${result.failure.code} ${result.failure.detail}`);
  process.stdout.write(`size ${log.value.head.size} ${Buffer.from(log.value.head.root).toString("hex")}\n`);
}
