import { Command } from "commander";
import { explain, fail } from "tallystick/codes/codes";
import packageJson from "../package.json" with { type: "json" };
import { acknowledgementCommand } from "./acknowledgement/command.js";
import { backupCommand, restoreCommand } from "./backup/command.js";
import { checkConfigCommand } from "./check-config/command.js";
import { demoCommand } from "./demo/command.js";
import { deviceCommand } from "./device/command.js";
import { enrolCommand } from "./enrol/command.js";
import { eraseCommand, erasuresCommand } from "./erase/command.js";
import { evidenceCommand } from "./evidence/command.js";
import { firmwareCommand } from "./firmware/command.js";
import { fsckCommand } from "./fsck/command.js";
import { inspectCommand } from "./inspect/command.js";
import { makerCommand } from "./maker/command.js";
import { operatorTokenCommand } from "./operator-token/command.js";
import { ownerCommand } from "./owner/command.js";
import { relayCommand } from "./relay/command.js";
import { relayKeyCommand } from "./relay-key/command.js";
import { simulateCommand } from "./simulate/command.js";
import { tenantCommand } from "./tenant/command.js";
import { verifyCommand } from "./verify/command.js";
import { witnessCommand } from "./witness/command.js";

/**
 * The `tallystick` command. Each subcommand is a folder beside this file; its command.ts only names what it takes, and
 * loads what it needs when it runs: relay and simulator are large, and most commands need neither.
 */
const USAGE_STATUS = 2;
const INTERNAL_ERROR_STATUS = 70;
/** Of sysexits(3): nothing is told of what the command was about. */
const EX_IOERR = 74;

const program = new Command("tallystick")
  .description("Sensor readings that stand up as proof: signed, chained, logged, anchored, verified offline.")
  .version(packageJson.version)
  .addHelpText(
    "after",
    "\nExit status of all commands, beside their own: 74 what is printed cannot be written, 70 a defect of ours.",
  )
  .showHelpAfterError("(--help lists what it takes)")
  // 1 says that something is false; what was typed wrongly is not.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_STATUS));

for (const command of [
  demoCommand,
  verifyCommand,
  evidenceCommand,
  acknowledgementCommand,
  inspectCommand,
  fsckCommand,
  relayCommand,
  checkConfigCommand,
  relayKeyCommand,
  witnessCommand,
  backupCommand,
  restoreCommand,
  enrolCommand,
  simulateCommand,
  deviceCommand,
  eraseCommand,
  erasuresCommand,
  operatorTokenCommand,
  tenantCommand,
  makerCommand,
  ownerCommand,
  firmwareCommand,
])
  program.addCommand(inheriting(program, command));

/** Commands are made before the program is: how they fail and help is handed down to them and their own. */
function inheriting(parent: Command, command: Command): Command {
  command.copyInheritedSettings(parent);
  for (const each of command.commands) inheriting(command, each);
  return command;
}

// Whoever reads may stop early, as `head` does: then end as a program does that gets SIGPIPE.
const SIGPIPE_STATUS = 141;
let unwritten: NodeJS.ErrnoException | undefined;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  unwritten = error;
  process.exit(isClosedPipe(error) ? SIGPIPE_STATUS : EX_IOERR);
});
// Also where a command ends before that event comes, as after --help: what was not printed is no finding of any command.
process.on("exit", () => {
  const error = unwritten ?? process.stdout.errored;
  if (!error || isClosedPipe(error)) return;
  console.error(`tallystick: ${explain(fail("FILE_UNWRITABLE", `standard output: ${error.message}`).failure)}`);
  process.exitCode = EX_IOERR;
});

function isClosedPipe({ code }: NodeJS.ErrnoException): boolean {
  return code === "EPIPE";
}

try {
  await program.parseAsync();
} catch (error) {
  // A defect of ours, with its stack for whoever reports it; no command's own status means this.
  console.error(error);
  process.exitCode = INTERNAL_ERROR_STATUS;
}
