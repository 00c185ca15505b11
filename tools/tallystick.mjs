#!/usr/bin/env node
// The `tallystick` command as plain Node sees it: registers the TypeScript loader, then runs the real command line.
import { register } from "tsx/esm/api";

register();
await import("./cli.ts");
