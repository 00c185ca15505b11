import { environmentName } from "./config.js";
import { ANY_TEXT, expectedOf, type Section, type Setting } from "./setting.js";
import { SETTINGS } from "./settings.js";

/** The commented example: every setting with its default, or, where it has none, commented out with an example. */

const HEAD = `# A relay's configuration. Every setting is here; a value that stands without a leading # is the default.
#
#   tallystick check-config relay.toml      says what is wrong, or each value and where it came from
#   tallystick relay --config relay.toml    starts with it
#
# The environment counts before this file (${environmentName("http", "port")}=8080 is http.port), the command line before both.
# Secrets never stand here: <key>_file names a file that holds one, and the environment may.
`;
const LINE_MAX = 110;

export function exampleConfig(): string {
  const sections = (Object.entries(SETTINGS) as [string, Section][]).map(([name, { comment, settings }]) =>
    [`# ${comment}`, `[${name}]`, ...Object.entries(settings).flatMap(([key, setting]) => linesOf(key, setting))].join(
      "\n",
    ),
  );
  return [HEAD, ...sections]
    .join("\n")
    .replaceAll(/\n(?=# [^\n]*\n\[)/g, "\n\n")
    .concat("\n")
    .replace(/\n{3,}/g, "\n\n");
}

function linesOf(key: string, setting: Setting): string[] {
  const { comment, fallback, example, secret } = setting;
  const expected = expectedOf(setting);
  const lines = wrapped(expected === ANY_TEXT ? comment : `${comment} Takes ${expected}.`);
  if (fallback !== undefined) return [...lines, `${key} = ${JSON.stringify(fallback)}`];
  if (secret === "whole") return [...lines, `# ${key}_file = ${JSON.stringify(example)}`];
  return [...lines, `# ${key} = ${JSON.stringify(example)}`];
}

function wrapped(words: string): string[] {
  const lines: string[] = [];
  let line = "#";
  for (const word of words.split(" ")) {
    if (line.length + word.length + 1 > LINE_MAX) {
      lines.push(line);
      line = "#";
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
