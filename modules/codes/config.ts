import { entry } from "./entry.js";

/** Codes about a relay's configuration and its webhooks; part of the one table. */
export const CONFIG_CODES = Object.freeze({
  CONFIG_UNREADABLE: entry(
    400,
    "the configuration cannot be read",
    "name a file of UTF-8 that can be read, of at most 1 MiB",
  ),
  CONFIG_MALFORMED: entry(400, "the configuration is not TOML", "correct it at the line that is named"),
  CONFIG_UNKNOWN_KEY: entry(
    400,
    "the configuration names what is no setting",
    "correct the name or take it out; tallystick check-config --example prints all there are",
  ),
  CONFIG_INVALID: entry(
    400,
    "a setting has a value that it cannot have",
    "correct it; tallystick check-config --example says what each takes",
  ),
  CONFIG_SECRET_INLINE: entry(
    400,
    "a secret stands in the configuration",
    "put it into a file of its own that only the relay's user can read, name that, and make a new secret",
  ),
  WEBHOOK_TARGET_REFUSED: entry(
    400,
    "the webhook's address is not one that the relay may reach",
    "name an https URL of a public host; a receiver on a network of your own needs webhooks.allow_addresses",
  ),
  WEBHOOK_FAILED: entry(
    502,
    "the webhook's receiver did not take the message",
    "nothing: it is tried again; look at the receiver where that goes on",
  ),
  CONFIG_SECRET_UNREADABLE: entry(
    400,
    "a secret's file cannot be read",
    "name a file that the relay's user can read, of at most 4,096 bytes",
  ),
});
