import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, Script } from "node:vm";
import { build } from "esbuild";
import type { Clock, Timers } from "tallystick/clock/clock";
import type { KeyStore } from "tallystick/identity/crypto";
import type { Fuses } from "tallystick/identity/seeds";
import type { Flash } from "tallystick/journal/flash";
import type { Transport } from "tallystick/sync/transport";
import * as fakes from "./fakes.js";

const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** Which stand-in an SDK specifier gets, as its default export. */
const STAND_INS: Record<string, unknown> = {
  "embedded:network/http/client": fakes.http,
  "embedded:network/interface/wifi": fakes.wifi,
  "embedded:storage/flash": fakes.FlashStorage,
  "embedded:storage/key-value": fakes.KeyValueStorage,
  net: fakes.net,
  time: fakes.Time,
  timer: fakes.Timer,
};

/** What the tests use of hosts/esp32; its own types need the SDK's, which this repository's type check does not have. */
export interface Network {
  readonly joined: boolean;
  onJoined: (() => void) | undefined;
  start(): void;
}

export interface Host {
  readonly clock: { boardClock(): Clock; readonly boardTimers: Timers };
  readonly efuse: { openFuses(): Fuses | undefined };
  readonly flash: { openPartition(label: string): Flash };
  readonly keystore: { openKeyStore(namespace: string): KeyStore };
  readonly statement: { adoptStatement(keys: KeyStore): void };
  readonly network: {
    readonly Network: new (ssid: string, password: string | undefined, print: (line: string) => void) => Network;
  };
  readonly transport: {
    httpTransport(origin: { readonly host: string; readonly port: number }, network: Network): Transport;
  };
}

/** The sources of hosts/esp32 on Node, with stand-ins for the SDK; `Date.now` is `dateNow`. */
export async function loadHost(dateNow: () => number): Promise<Host> {
  const names = ["clock", "efuse", "flash", "keystore", "network", "statement", "transport"];
  const result = await build({
    stdin: {
      contents: names.map((name) => `export * as ${name} from "./hosts/esp32/${name}.ts";`).join("\n"),
      resolveDir: ROOT,
    },
    bundle: true,
    write: false,
    format: "iife",
    globalName: "host",
    platform: "neutral",
    tsconfigRaw: {},
    plugins: [
      {
        name: "sdk",
        setup(hooks) {
          hooks.onResolve({ filter: /.*/ }, ({ path }) => (path in STAND_INS ? { path, namespace: "sdk" } : undefined));
          hooks.onResolve({ filter: /^tallystick\// }, ({ path }) => ({
            path: join(ROOT, "modules", `${path.slice("tallystick/".length)}.ts`),
          }));
          hooks.onLoad({ filter: /.*/, namespace: "sdk" }, ({ path }) => ({
            contents: `export default standIns[${JSON.stringify(path)}];`,
          }));
        },
      },
    ],
  });
  const context = createContext({
    standIns: STAND_INS,
    native: (name: string) => fakes.natives[name],
    device: { network: { http: { dns: { servers: ["1.1.1.1"] } } } },
    Date: Object.assign(() => "", { now: dateNow }),
    Uint8Array,
    ArrayBuffer,
    Promise,
    Error,
    TypeError,
  });
  new Script(result.outputFiles[0]!.text).runInContext(context);
  return (context as { host: Host }).host;
}
