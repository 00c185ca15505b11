#!/usr/bin/env node
// The `tallystick` command as plain Node sees it: runs the command line's program (bundle.mjs), or, where none can be kept,
// its TypeScript.
import { bundle } from "./bundle.mjs";

const program = await bundle("tools/cli.ts");
if (program) await import(program);
else {
  const { register } = await import("tsx/esm/api");
  register();
  await import("./cli.ts");
}
