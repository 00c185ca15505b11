import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { live, type Promised } from "./life.js";
import { keepsPromises } from "./promises.js";

/**
 * A process in which one step of a relay's life fails after the other, by trace.c: `failing.ts <root> <errno> <sticky>
 * <first> <last> <stride>`. After each life the disk is well again, and what is left must go on. Says what the lives ended with.
 */
const [root, errno, sticky, first, last, stride] = [process.argv[2]!, ...process.argv.slice(3).map(Number)] as [
  string,
  number,
  number,
  number,
  number,
  number,
];
const control = (text: string) => writeFileSync(process.env["TRACE_CONTROL"]!, text);
const endings = new Map<string, number>();
let lives = 0;
for (let step = first; step <= last; step += stride) {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  const promised: Promised[] = [];
  let ending = "whole";
  control(`fail ${step} ${errno} ${sticky}`);
  try {
    await live(root, (each) => promised.push(each));
  } catch (error) {
    const { name, message } = error as Error;
    ending = /^(?:status \d+: .*"code":")?([A-Z]{2,}_[A-Z_]+)/.exec(message)?.[1] ?? name;
  }
  control("off");
  lives++;
  endings.set(ending, (endings.get(ending) ?? 0) + 1);
  try {
    await keepsPromises(root, promised);
  } catch (error) {
    console.log(`step ${step} failed with errno ${errno}, the life ended with ${ending}`);
    throw error;
  }
}
console.log(`${lives} lives: ${[...endings].map(([ending, count]) => `${ending} ${count}`).join(", ")}`);
