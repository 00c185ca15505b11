/** `embedded:storage/*`, which npm's @moddable/typings does not describe: what a simulated board answers with. */

declare module "embedded:storage/flash" {
  const FlashStorage: import("./flash.js").FlashStorage;
  export default FlashStorage;
}

declare module "embedded:storage/key-value" {
  const KeyValueStorage: import("./key-value.js").KeyValueStorage;
  export default KeyValueStorage;
}
