import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Options {
  readonly check?: true;
  readonly provision?: string;
  readonly token?: string;
  readonly maker?: true;
}

/** `tallystick firmware`: exit code 0 where the manifests hold, 1 where they do not. */
export const firmwareCommand = new Command("firmware")
  .description("check the boards' firmware, or provision a board; hosts/esp32/README.md tells how to build and flash")
  .option("--check", "check manifests, names, specifiers and preloading without the SDK")
  .option("--provision <relay url>", "print what a board needs to know of the relay, for ESP-IDF's NVS generator")
  .option("--token <token>", "for --provision: the enrolment token, from tallystick enrol; any for an open relay")
  .option("--maker", "for --provision: have the board make its key and wait for its maker's statement")
  .action(async (options: Options, command: Command) => {
    if (options.provision !== undefined) await provision(options.provision, options, command);
    else if (options.check === true) await check();
    else command.help();
  });

async function check(): Promise<void> {
  const { checkFirmware, TARGETS } = await import("./check.js");
  const { problems, manifests, modules, preloaded, imports } = await checkFirmware(ROOT);
  for (const { file, line, message } of problems) console.log(`${file}:${line}: ${message}`);
  const checked = `${manifests} manifests, ${modules} modules (${preloaded} preloaded), ${imports} imports, for ${TARGETS.join(" and ")}`;
  console.log(problems.length === 0 ? `${checked}: all resolve` : `${problems.length} problems in ${checked}`);
  if (problems.length > 0) process.exitCode = 1;
}

async function provision(url: string, { token, maker }: Options, command: Command): Promise<void> {
  if (token === undefined && !maker)
    command.error("--provision needs --token, made with tallystick enrol, or --maker, to wait for a maker's statement");
  const { fetchPins, provisioningTable } = await import("./provision.js");
  try {
    const leave = { ...(token !== undefined && { token }), ...(maker && { awaitMaker: true }) };
    process.stdout.write(provisioningTable({ ...(await fetchPins(url)), ...leave }));
  } catch (error) {
    command.error(error instanceof Error ? error.message : String(error));
  }
}
