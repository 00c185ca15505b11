/**
 * Resolves at the first request to stop, and when a parent that holds a channel to this process is gone; at the second
 * request the process ends as if killed, which loses nothing.
 */
export function signalled(): Promise<void> {
  return new Promise((resolve) => {
    let asked = 0;
    const onSignal = (): void => {
      asked++;
      if (asked > 1) process.exit(130);
      // Who listens for a channel's end keeps the process alive; from here on nobody needs to.
      process.off("disconnect", onSignal);
      resolve();
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
    process.on("disconnect", onSignal);
  });
}
