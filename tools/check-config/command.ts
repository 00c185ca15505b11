import { Command } from "commander";

interface Options {
  readonly example?: true;
  readonly json?: true;
}

export const checkConfigCommand = new Command("check-config")
  .description("what a relay would take from its configuration, and from where; or what is wrong with it")
  .argument("[file]", "the TOML file; without one, environment and defaults alone")
  .option("--example", "print a commented file with every setting and its default instead")
  .option("--json", "one document of JSON")
  .action(async (file: string | undefined, { example, json }: Options) => {
    const { checkConfig, printExample } = await import("./check-config.js");
    process.exitCode = example ? printExample() : checkConfig(file, process.env, json === true);
  });
