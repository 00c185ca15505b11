/**
 * The includes of the Moddable SDK 8.2.3 that our manifests rely on, and the module names that each brings to an ESP32
 * target: the names we import, not all it has. The optional SDK test compares this table with what mcconfig links.
 */
export const SDK_VERSION = "8.2.3";

export const SDK_INCLUDES: ReadonlyMap<string, readonly string[]> = new Map([
  ["$(MODDABLE)/examples/manifest_base.json", ["Resource", "mc/config", "time", "timer"]],
  [
    "$(MODDABLE)/modules/io/manifest.json",
    [
      "embedded:io/analog",
      "embedded:io/digital",
      "embedded:io/i2c",
      "embedded:io/serial",
      "embedded:io/smbus",
      "embedded:io/socket/tcp",
      "embedded:io/socket/udp",
      "embedded:provider/builtin",
      "net",
      "sntp",
      "system",
    ],
  ],
  ["$(MODDABLE)/modules/io/flash/manifest.json", ["embedded:storage/flash"]],
  ["$(MODDABLE)/modules/io/storage/manifest.json", ["embedded:storage/key-value"]],
  ["$(MODDABLE)/modules/io/wifi/manifest.json", ["embedded:network/interface/wifi"]],
  ["$(MODDABLE)/examples/io/tcp/httpclient/manifest_httpclient.json", ["embedded:network/http/client"]],
]);

/** The include that brings `name`, if the table knows one. */
export function includeOf(name: string): string | undefined {
  for (const [include, names] of SDK_INCLUDES) if (names.includes(name)) return include;
  return undefined;
}
