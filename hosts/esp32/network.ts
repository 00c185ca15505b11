import WiFi from "embedded:network/interface/wifi";
import Timer from "timer";

/** Between two attempts to join; doubled up to the longest, begun anew after an address was had. */
const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** An attempt that has yielded no address by then is given up. */
const JOIN_TIMEOUT_MS = 20_000;
/** `connection` of ECMA-419's network interface pattern: at or above this, there is an address. */
const HAS_ADDRESS = 500;

/**
 * The station that stays joined to one access point. The SDK's own set-up module would hold the application back until
 * the network is there; a device samples without one, so this board never sets `config.ssid` and joins by itself.
 */
export class Network {
  readonly #ssid: string;
  readonly #password: string | undefined;
  readonly #print: (line: string) => void;
  #wifi: WiFi | undefined;
  #timer: Timer | undefined;
  #retryMs = SHORTEST_RETRY_MS;
  #joined = false;
  /** Called each time an address was had. */
  onJoined: (() => void) | undefined;

  constructor(ssid: string, password: string | undefined, print: (line: string) => void) {
    this.#ssid = ssid;
    this.#password = password;
    this.#print = print;
  }

  get joined(): boolean {
    return this.#joined;
  }

  /** Joins, and joins again whenever the connection is lost. To be called once. */
  start(): void {
    this.#wifi = new WiFi({ onChanged: () => this.#changed() });
    this.#join();
  }

  #join(): void {
    this.#after(JOIN_TIMEOUT_MS, () => this.#retry("no address in time"));
    const connect = { SSID: this.#ssid };
    try {
      this.#wifi?.connect(this.#password === undefined ? connect : { ...connect, password: this.#password });
    } catch (error) {
      this.#retry(error instanceof Error ? error.message : "refused");
    }
  }

  #changed(): void {
    const wifi = this.#wifi;
    if (wifi === undefined) return;
    if (wifi.connection >= HAS_ADDRESS) {
      if (this.#joined) return;
      this.#joined = true;
      this.#retryMs = SHORTEST_RETRY_MS;
      this.#after(0, undefined);
      this.#print(`network: joined ${this.#ssid} as ${wifi.address ?? "?"}`);
      this.onJoined?.();
    } else if (this.#joined) {
      this.#joined = false;
      this.#retry("connection lost");
    }
  }

  #retry(reason: string): void {
    this.#print(`network: ${reason}; next attempt in ${this.#retryMs} ms`);
    this.#after(this.#retryMs, () => {
      this.#wifi?.disconnect();
      this.#join();
    });
    this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
  }

  /** One timer serves both the attempt and the pause between two: setting one ends the other. */
  #after(delayMs: number, callback: (() => void) | undefined): void {
    if (this.#timer !== undefined) Timer.clear(this.#timer);
    this.#timer = undefined;
    if (callback === undefined) return;
    this.#timer = Timer.set(() => {
      this.#timer = undefined;
      callback();
    }, delayMs);
  }
}
