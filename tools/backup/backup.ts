import { explain, type Failure } from "tallystick/codes/codes";
import { type BackupOptions, backUp } from "../../hosts/relay/backup.js";
import { restore } from "../../hosts/relay/restore.js";
import { readInput } from "../file.js";

const CHECKPOINT_MAX_BYTES = 65_536;
const EXIT = { done: 0, refused: 1, lacking: 3 } as const;

/** Makes one backup, prints what it holds, and answers with the exit status. */
export async function makeBackup(
  dataDir: string,
  out: string,
  options: BackupOptions,
  asJson: boolean,
): Promise<number> {
  const made = await backUp(dataDir, out, options);
  if (!made.ok) return refuse(made.failure, asJson);
  const { name, manifest, copied, removed, keptForKeys, withErased } = made.value;
  if (asJson) {
    const others = { removed, kept_for_keys: keptForKeys ?? null, with_erased: withErased };
    console.log(JSON.stringify({ name, copied, ...others, ...manifest }));
    return EXIT.done;
  }
  console.log(
    `${name}: ${manifest.records} records, log of ${manifest.log_size} entries, ${manifest.files} files, ${copied} of the log's copied`,
  );
  console.log(
    manifest.with_keys
      ? "It holds the relay's keys: whoever has it can speak as the relay. The log's lock and its key's memory are not in it."
      : "It holds no key: keep device-facing.key and log/key elsewhere. The log's lock and its key's memory are not in it.",
  );
  for (const older of removed) console.log(`removed ${older}`);
  if (keptForKeys !== undefined) console.log(`kept ${keptForKeys} beyond --keep: it is the newest that holds keys`);
  for (const older of withErased)
    console.log(`${older} has bytes of records that were erased since: --keep of a smaller number removes it`);
  return EXIT.done;
}

export interface RestoreArguments {
  readonly from: string;
  readonly data: string;
  readonly backup?: string;
  readonly newest?: string;
  readonly json?: true;
}

/** Restores, prints what was done and what is lacking, and answers with the exit status. */
export async function restoreBackup({ from, data, backup, newest, json }: RestoreArguments): Promise<number> {
  const asJson = json === true;
  const checkpoint = newest === undefined ? undefined : readInput(newest, CHECKPOINT_MAX_BYTES);
  if (checkpoint && !checkpoint.ok) return refuse(checkpoint.failure, asJson);
  const restored = await restore(from, data, {
    ...(backup !== undefined && { name: backup }),
    ...(checkpoint && { newest: checkpoint.value }),
  });
  if (!restored.ok) return refuse(restored.failure, asJson);
  const { backup: found, written, tree, behind, lacking } = restored.value;
  if (asJson) console.log(JSON.stringify({ name: found.name, log_size: tree.size, behind, written, lacking }));
  else {
    console.log(`${found.name}: every byte looked at, ${written.length} files written, log of ${tree.size} entries`);
    if (behind > 0) console.log(`The next start takes back from the log what the database lacks: ${behind} entries.`);
    for (const line of lacking) console.log(`lacking  ${line}`);
    console.log(lacking.length === 0 ? "The relay can be started." : "The relay cannot be started yet.");
  }
  return lacking.length === 0 ? EXIT.done : EXIT.lacking;
}

function refuse(failure: Failure, asJson: boolean): number {
  if (asJson) console.log(JSON.stringify({ failure }));
  else console.error(explain(failure));
  return EXIT.refused;
}
