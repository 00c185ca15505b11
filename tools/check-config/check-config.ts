import { explain, type Failure } from "tallystick/codes/codes";
import { type ConfigInput, loadConfig, type Stated } from "../../hosts/relay/config/config.js";
import { exampleConfig } from "../../hosts/relay/config/example.js";

/** 0: a relay would start with it, as far as words go. 1: it would not. 2: there is nothing that can be read. */
const INVALID_STATUS = 1;
const UNREADABLE_STATUS = 2;
const SOURCE_COLUMN_MAX = 60;

export function checkConfig(path: string | undefined, environment: ConfigInput["environment"], json: boolean): number {
  const loaded = loadConfig({ ...(path !== undefined && { path }), ...(environment && { environment }) });
  if (!loaded.ok) {
    const { failures } = loaded;
    if (json) console.log(JSON.stringify({ ok: false, failures }, undefined, 2));
    else for (const failure of failures) console.error(explain(failure));
    return failures.some(isUnreadable) ? UNREADABLE_STATUS : INVALID_STATUS;
  }
  const { stated, unknownVariables } = loaded.value;
  for (const { variable, nearest } of json ? [] : unknownVariables)
    console.error(`warning: ${variable} is no setting${nearest === undefined ? "" : `; did you mean ${nearest}?`}`);
  if (json) {
    const told = stated.map(({ section, key, value, shown, masked, source }) => {
      return { section, key, value: (masked ? shown : value) ?? null, source };
    });
    console.log(JSON.stringify({ ok: true, settings: told, unknown_variables: unknownVariables }, undefined, 2));
  } else for (const line of linesOf(stated)) console.log(line);
  return 0;
}

export function printExample(): number {
  process.stdout.write(exampleConfig());
  return 0;
}

function isUnreadable({ code }: Failure): boolean {
  return code === "CONFIG_UNREADABLE" || code === "CONFIG_MALFORMED";
}

/** TOML with each value's source as its comment: what is printed can be used as a configuration. */
function linesOf(stated: readonly Stated[]): string[] {
  const left = stated.map(({ key, shown }) => (shown === undefined ? `# ${key} is not set` : `${key} = ${shown}`));
  const width = Math.min(SOURCE_COLUMN_MAX, Math.max(...left.map((line) => line.length)));
  return stated.flatMap(({ section, source }, i) => [
    ...(section === stated[i - 1]?.section ? [] : [...(i === 0 ? [] : [""]), `[${section}]`]),
    `${left[i]!.padEnd(width)}  # ${source}`,
  ]);
}
