import type { BoardPlatform } from "../../hosts/board/platform.js";

/** Ends each of its starts in another way, as the key store counts them; the fifth stays up. */
export default (platform: BoardPlatform) => {
  const { keys, clock, timers, print } = platform;
  const before = keys.read("starts")?.[0] ?? 0;
  const ways: readonly (() => void)[] = [
    () => platform.restart(),
    () => platform.sleep(5_000),
    () => {
      throw new Error("boom timer");
    },
    () => {
      void Promise.reject(new Error("boom job"));
    },
    () => {},
  ];
  return {
    start() {
      print(`start ${before}: reason ${platform.resetReason}, uptime ${clock.uptimeMs()}, clock ${clock.state}`);
      keys.write("starts", Uint8Array.of(before + 1));
      if (before === 0) clock.set(1_800_000_000_000, 3);
      timers.after(1_000, ways[before]!);
    },
  };
};
