import application from "application";
import config from "mc/config";
import SNTP from "sntp";
import { ClockState } from "tallystick/clock/clock";
import { parseOrigin } from "./http.js";
import { Network } from "./network.js";
import { boardPlatform } from "./platform.js";

/**
 * The board's entry: hands the maker's application its platform and starts what it made, then the network. In this
 * order, because a first key is drawn from the converter's noise, which the radio excludes (board.c). A function, which
 * the SDK calls, so that this module can be preloaded as well.
 */
export default function start(): void {
  const relay = parseOrigin(text("relay") ?? "");
  if (relay === undefined) throw new Error("build with relay=http://host[:port], the relay's address");
  const ssid = text("wifi");
  if (ssid === undefined) throw new Error("build with wifi=NAME, the network to join");

  const print = (line: string): void => trace(`${line}\n`);
  const network = new Network(ssid, text("password"), print);
  const platform = boardPlatform({ version: text("version") ?? "unknown", relay, network });
  application(platform).start();

  network.onJoined = () => {
    const host = text("sntp");
    if (host === undefined || platform.clock.state >= ClockState.network) return;
    new SNTP({ host }, (message, value) => {
      if (message === SNTP.time && typeof value === "number") platform.clock.set(value * 1000, ClockState.network);
    });
  };
  network.start();
}

/** A build option given as text, undefined where it is absent or empty. */
function text(name: string): string | undefined {
  const value: unknown = config[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}
