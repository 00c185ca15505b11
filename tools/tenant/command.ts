import { Command } from "commander";

const DATA = ["--data <dir>", "the relay's data folder", "tallystick-relay"] as const;

interface Options {
  readonly data: string;
  readonly json?: true;
}

export const tenantCommand = new Command("tenant").description(
  "those whose devices a relay keeps apart for its operators; works while the relay runs",
);

tenantCommand
  .command("create")
  .description("make a tenant; it stays for good")
  .argument("<name>", "1 to 63 of a to z, 0 to 9 and -")
  .option(...DATA)
  .option("--json", "one line of JSON")
  .action(async (name: string, { data, json }: Options) => {
    const { create } = await import("./tenant.js");
    process.exitCode = create(data, name, json === true);
  });

tenantCommand
  .command("list")
  .description("all tenants")
  .option(...DATA)
  .option("--json", "one line of JSON a tenant")
  .action(async ({ data, json }: Options) => {
    const { list } = await import("./tenant.js");
    process.exitCode = list(data, json === true);
  });
