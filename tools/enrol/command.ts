import { Command, InvalidArgumentError } from "commander";
import { explain, type Failure } from "tallystick/codes/codes";

const COUNT_MAX = 1000;
/** Eleven years: longer than any batch of devices lies in a store. */
const HOURS_MAX = 99_999;

export const enrolCommand = new Command("enrol")
  .description("make tokens, each of which lets one device in, once; works while the relay runs")
  .option("--data <dir>", "the relay's data folder", "tallystick-relay")
  .option("--count <number>", "how many", count, 1)
  .option("--hours <number>", "how long they last", hours, 24)
  .option("--tenant <name>", "whose the devices become; default the tenant named default")
  .option("--json", "one line of JSON a token, with when it expires")
  .addHelpText(
    "after",
    `
Where a token goes:
  tallystick simulate --relay URL --token TOKEN              a simulated board, on this machine or another
  tallystick firmware --provision URL --token TOKEN          an ESP32: hosts/esp32/README.md, "Provision"`,
  )
  .action(async (options: { data: string; count: number; hours: number; tenant?: string; json?: true }) => {
    const { makeEnrolmentToken } = await import("../../hosts/relay/enrol.js");
    const { storeOfEnvironment } = await import("../../hosts/relay/store/open.js");
    const place = storeOfEnvironment(process.env);
    if (!place.ok) return refuse(place.failure);
    for (let i = 0; i < options.count; i++) {
      const made = makeEnrolmentToken(options.data, {
        lifetimeMs: options.hours * 3_600_000,
        ...(options.tenant !== undefined && { tenant: options.tenant }),
        ...place.value,
      });
      if (!made.ok) return refuse(made.failure);
      const { token, expiresAtMs } = made.value;
      console.log(options.json ? JSON.stringify({ token, expires: new Date(expiresAtMs).toISOString() }) : token);
    }
  });

function refuse(failure: Failure): void {
  console.error(explain(failure));
  process.exitCode = 1;
}

function count(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,4}$/.test(text) || number < 1 || number > COUNT_MAX)
    throw new InvalidArgumentError(`expected a number from 1 to ${COUNT_MAX}`);
  return number;
}

function hours(text: string): number {
  const number = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || number < 1 || number > HOURS_MAX)
    throw new InvalidArgumentError(`expected whole hours, from 1 to ${HOURS_MAX}`);
  return number;
}
