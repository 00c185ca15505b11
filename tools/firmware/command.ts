import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { checkFirmware, TARGETS } from "./check.js";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** `tallystick firmware --check`: exit code 0 where the manifests hold, 1 where they do not. */
export const firmwareCommand = new Command("firmware")
  .description("the boards' firmware")
  .option("--check", "check manifests, names and specifiers without the SDK")
  .action(async ({ check }: { check?: boolean }, command: Command) => {
    if (check !== true) {
      command.outputHelp();
      process.stdout.write(`\nTo build and flash it, see hosts/esp32/README.md (targets ${TARGETS.join(", ")}).\n`);
      return;
    }
    const { problems, manifests, modules, preloaded, imports } = await checkFirmware(ROOT);
    for (const { file, line, message } of problems) process.stdout.write(`${file}:${line}: ${message}\n`);
    const checked = `${manifests} manifests, ${modules} modules (${preloaded} preloaded), ${imports} imports, for ${TARGETS.join(" and ")}`;
    process.stdout.write(
      problems.length === 0
        ? `firmware: ${checked}: all resolve\n`
        : `firmware: ${problems.length} problems in ${checked}\n`,
    );
    if (problems.length > 0) process.exitCode = 1;
  });
