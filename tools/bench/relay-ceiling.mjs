// A thread of relay-ceiling.ts as plain Node starts it.
import { register } from "tsx/esm/api";

register();
await import("./relay-ceiling.ts");
