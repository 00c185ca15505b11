// A thread of pool.ts as plain Node starts it: registers the TypeScript loader, then runs the thread's work.
import { register } from "tsx/esm/api";

register();
await import("./thread.ts");
