import KeyValueStorage from "embedded:storage/key-value";
import type { KeyStore } from "tallystick/identity/crypto";

/**
 * The board's non-volatile storage (NVS), one namespace. Each write is committed when it returns. What NVS cannot read
 * throws and never looks like a missing name: a key must not be made anew because of a fault.
 */
export function openKeyStore(namespace: string): KeyStore {
  const store = KeyValueStorage.open({ path: namespace, format: "buffer", mode: "r+" });
  return {
    read(name) {
      const value = store.read(name);
      if (value === undefined) return undefined;
      if (!(value instanceof ArrayBuffer)) throw new TypeError(`${name}: expected bytes, received ${typeof value}`);
      return new Uint8Array(value);
    },
    write(name, value) {
      store.write(name, value);
    },
    delete(name) {
      store.delete(name);
    },
  };
}
