import { Command, InvalidArgumentError, Option } from "commander";
import type { Role } from "../../hosts/relay/operators/roles.js";

const DATA = ["--data <dir>", "the relay's data folder", "tallystick-relay"] as const;
/** As the relay knows them; it is not loaded for a help text. */
const ROLES: readonly Role[] = ["viewer", "operator", "admin"];
const LABEL = /^[^\p{Cc}]{1,64}$/u;
const DAYS_MAX = 366;

interface Options {
  readonly data: string;
  readonly json?: true;
}

export const operatorTokenCommand = new Command("operator-token").description(
  "tokens by which operators use the relay's API under /v1/operator/; works while the relay runs",
);

operatorTokenCommand
  .command("create")
  .description("make a token; it is shown once, and stored nowhere")
  .option(...DATA)
  .addOption(
    new Option(
      "--role <role>",
      "viewer reads; operator also lets devices in and decides about them; admin also makes such tokens",
    )
      .choices(ROLES)
      .makeOptionMandatory(),
  )
  .option("--tenant <name>", "the tenant that it counts for")
  .option("--all-tenants", "it counts for all of them, and the relay's own matters")
  .option("--label <text>", "for people: whose it is, where it is used", label, "")
  .option("--days <number>", "how long it counts", days, 90)
  .option("--json", "one line of JSON")
  .action(
    async (
      options: Options & { role: Role; tenant?: string; allTenants?: true; label: string; days: number },
    ): Promise<void> => {
      // Never for all by leaving something out.
      if ((options.tenant === undefined) === (options.allTenants === undefined))
        operatorTokenCommand.error("error: create takes either --tenant <name> or --all-tenants");
      const { create } = await import("./operator-token.js");
      process.exitCode = create(options.data, options);
    },
  );

operatorTokenCommand
  .command("list")
  .description("the tokens, without their secrets")
  .option(...DATA)
  .option("--tenant <name>", "of one tenant")
  .option("--json", "one line of JSON a token")
  .action(async ({ data, tenant, json }: Options & { tenant?: string }) => {
    const { list } = await import("./operator-token.js");
    process.exitCode = list(data, tenant, json === true);
  });

operatorTokenCommand
  .command("revoke")
  .description("let a token count no more, from the next request on")
  .argument("<token>", "its id, 16 hexadecimal digits", id)
  .option(...DATA)
  .option("--with-made", "and those that it made, itself or through others: where it was in other hands")
  .option("--json", "one line of JSON a token")
  .action(async (token: string, { data, json, withMade }: Options & { withMade?: true }) => {
    const { revoke } = await import("./operator-token.js");
    process.exitCode = revoke(data, token, { asJson: json === true, withMade: withMade === true });
  });

function id(text: string): string {
  // Not said again: whoever gives the token itself has given away enough.
  if (!/^[0-9a-f]{16}$/.test(text))
    operatorTokenCommand.error("error: revoke takes a token's id, 16 hexadecimal digits");
  return text;
}

function label(text: string): string {
  if (!LABEL.test(text)) throw new InvalidArgumentError("expected 1 to 64 characters");
  return text;
}

function days(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || number < 1 || number > DAYS_MAX)
    throw new InvalidArgumentError(`expected 1 to ${DAYS_MAX} days`);
  return number;
}
