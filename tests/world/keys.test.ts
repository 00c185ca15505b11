import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileKeys, KEYS_MAX, KeyFileError, MemoryKeys } from "../../hosts/simulator/world/keys.js";

describe("key cells", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-keys-"));
    file = join(folder, "keys.json");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("are there again when the file is opened again", () => {
    const keys = new FileKeys(file);
    assert.equal(existsSync(file), false, "nothing is written before something is to be kept");
    keys.write("a", "b", Uint8Array.of(0, 255));
    keys.write("ab", "", new Uint8Array(0));
    keys.write("a", "gone", Uint8Array.of(1));
    keys.delete("a", "gone");
    const again = new FileKeys(file);
    assert.deepEqual(again.read("a", "b"), Uint8Array.of(0, 255));
    assert.deepEqual(again.read("ab", ""), new Uint8Array(0));
    assert.equal(again.read("a", "gone"), undefined);
    assert.deepEqual(again.list("a"), ["b"]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ["keys.json"]);
  });

  it("give no one else's bytes away", () => {
    const keys = new MemoryKeys();
    const value = Uint8Array.of(1);
    keys.write("a", "b", value);
    value[0] = 2;
    keys.read("a", "b")![0] = 3;
    assert.deepEqual(keys.read("a", "b"), Uint8Array.of(1));
  });

  it("stay as they were where a write fails", () => {
    const keys = new FileKeys(file);
    keys.write("a", "b", Uint8Array.of(1));
    const before = readFileSync(file);
    // A folder in the place of the new file: no permission check to get around, for root neither.
    const blocked = new FileKeys(file);
    mkdirSync(`${file}.next`);
    assert.throws(() => blocked.write("a", "b", Uint8Array.of(2)));
    assert.throws(() => blocked.write("a", "new", Uint8Array.of(2)));
    assert.throws(() => blocked.delete("a", "b"));
    assert.deepEqual(blocked.read("a", "b"), Uint8Array.of(1));
    assert.equal(blocked.read("a", "new"), undefined);
    assert.deepEqual(readFileSync(file), before);
  });

  it("ignore what a crash left beside the file", () => {
    new FileKeys(file).write("a", "b", Uint8Array.of(1));
    writeFileSync(`${file}.next`, '{"version":1,"keys":{"1:ab":"0');
    const keys = new FileKeys(file);
    assert.deepEqual(keys.read("a", "b"), Uint8Array.of(1));
    keys.write("a", "b", Uint8Array.of(2));
    assert.deepEqual(new FileKeys(file).read("a", "b"), Uint8Array.of(2));
  });

  it("refuse a file that they do not understand, and leave it", () => {
    for (const text of [
      "",
      "{",
      "null",
      "[]",
      "{}",
      '{"version":2,"keys":{}}',
      '{"version":1}',
      '{"version":1,"keys":[]}',
      '{"version":1,"keys":{"1:ab":"0"}}',
      '{"version":1,"keys":{"1:ab":7}}',
    ]) {
      writeFileSync(file, text);
      assert.throws(() => new FileKeys(file), KeyFileError, text);
      assert.equal(readFileSync(file, "utf8"), text);
    }
  });

  it("have a limit", () => {
    const keys = new MemoryKeys();
    for (let i = 0; i < KEYS_MAX; i++) keys.write("a", `${i}`, new Uint8Array(1));
    assert.throws(() => keys.write("a", "more", new Uint8Array(1)), /full/);
    keys.write("a", "0", new Uint8Array(2));
  });
});
