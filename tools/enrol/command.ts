import { Command, InvalidArgumentError } from "commander";
import { explain } from "tallystick/codes/codes";

const COUNT_MAX = 1000;

export const enrolCommand = new Command("enrol")
  .description("make tokens, each of which lets one device in, once; works while the relay runs")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .option("--count <number>", "how many", count, 1)
  .option("--hours <number>", "how long they last", hours, 24)
  .option("--tenant <name>", "whose the devices become; default the tenant named default")
  .option("--json", "one line of JSON a token, with when it expires")
  .action(async (options: { data: string; count: number; hours: number; tenant?: string; json?: true }) => {
    const { makeEnrolmentToken } = await import("../../hosts/relay/enrol.js");
    const { storeOfEnvironment } = await import("../../hosts/relay/store/open.js");
    const store = storeOfEnvironment(process.env);
    for (let i = 0; i < options.count; i++) {
      const made = makeEnrolmentToken(options.data, {
        lifetimeMs: options.hours * 3_600_000,
        ...(options.tenant !== undefined && { tenant: options.tenant }),
        ...store,
      });
      if (!made.ok) {
        console.error(explain(made.failure));
        process.exitCode = 1;
        return;
      }
      const { token, expiresAtMs } = made.value;
      console.log(options.json ? JSON.stringify({ token, expires: new Date(expiresAtMs).toISOString() }) : token);
    }
  });

function count(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,4}$/.test(text) || number < 1 || number > COUNT_MAX)
    throw new InvalidArgumentError(`expected a number from 1 to ${COUNT_MAX}`);
  return number;
}

function hours(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || number < 1) throw new InvalidArgumentError("expected whole hours, at least 1");
  return number;
}
