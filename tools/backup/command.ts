import { Command, InvalidArgumentError } from "commander";

interface BackupCommandOptions {
  readonly data: string;
  readonly out: string;
  readonly withKeys?: true;
  readonly keep?: number;
  readonly json?: true;
}

interface RestoreCommandOptions {
  readonly from: string;
  readonly data: string;
  readonly backup?: string;
  readonly newest?: string;
  readonly json?: true;
}

export const backupCommand = new Command("backup")
  .description("copy a relay's data into a folder of backups, while it runs")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .requiredOption("--out <dir>", "where backups are; files of the log that are there already are not copied again")
  .option("--with-keys", "the relay's keys, too: whoever has the backup can then speak as the relay")
  .option("--keep <number>", "how many backups stay, this one among them (default: all)", count)
  .option("--json", "print the manifest as JSON")
  .addHelpText(
    "after",
    `
The log's lock and its key's memory are in no backup: put back later they would let the key sign what it has signed already,
otherwise. sha256sum -c backup-000001/SHA256SUMS, in the folder of backups, looks at every file.
--keep removes older backups; where none of those that stay has keys, the newest that has stays as well.`,
  )
  .action(async (options: BackupCommandOptions) => {
    const { makeBackup } = await import("./backup.js");
    const { data, out, withKeys, keep, json } = options;
    process.exitCode = await makeBackup(
      data,
      out,
      { withKeys: withKeys === true, ...(keep !== undefined && { keep }) },
      json === true,
    );
  });

export const restoreCommand = new Command("restore")
  .description("put a backup's files where a stopped relay's are missing, after looking at every byte of it")
  .requiredOption("--from <dir>", "the folder of backups")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .option("--backup <name>", "which one; default the newest that is complete")
  .option(
    "--newest <file>",
    "the newest checkpoint that anyone has of the log, where its lock or its key's memory are lost",
  )
  .option("--json", "print the report as JSON")
  .addHelpText(
    "after",
    `
Nothing that is there is replaced, but files of the log that are wrong. Never is a relay set back: where its key has signed
more than can be restored, nothing is changed.

Exit status: 0 the relay can be started, 1 nothing was changed, 3 restored, but something is lacking before it can start.`,
  )
  .action(async (options: RestoreCommandOptions) => {
    const { restoreBackup } = await import("./backup.js");
    process.exitCode = await restoreBackup(options);
  });

function count(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || number < 1) throw new InvalidArgumentError("expected 1 to 999");
  return number;
}
