import type { Platform } from "tallystick/device/platform";

/**
 * A small application that uses every part of a platform: once a minute it reads a chip, programs the reading into
 * flash, counts in the key store, and sends what it has; each start prints what it finds. It runs in both lanes.
 */
export default (platform: Platform) => {
  const { flash, keys, clock, timers, transport, crypto, entropy, i2c, print } = platform;
  const count = keys.read("count");
  let readings = count === undefined ? 0 : count[0]!;
  print(`start ${platform.resetReason} ${platform.model} ${platform.firmware.version}, ${readings} readings`);
  if (readings === 0) {
    flash.erase(0);
    keys.write("id", entropy.bytes(8));
    clock.set(1_767_225_600_000, 2);
  }
  const chip = new i2c.io({ ...i2c, address: 0x40 });

  const reading = () => {
    timers.after(60_000, reading);
    chip.write(Uint8Array.of(1));
    const value = new Uint8Array(chip.read(4) as ArrayBuffer);
    const frame = new Uint8Array(32);
    frame.set(value);
    frame.set(crypto.sha256(value).subarray(0, 28), 4);
    flash.write(readings * 32, frame);
    const back = new Uint8Array(32);
    flash.read(readings * 32, back);
    readings += 1;
    keys.write("count", Uint8Array.of(readings));
    print(`${clock.uptimeMs()} ${clock.wallMs()} ${clock.state} reading ${readings}`);
    void send(back);
  };

  const send = async (bytes: Uint8Array) => {
    const body = new Uint8Array(1_500);
    body.set(bytes);
    const answer = await transport.request({ method: "POST", path: `/v1/${readings}`, body, maxResponseBytes: 100 });
    if (answer.ok) print(`status ${answer.value.status}, ${answer.value.body.length} bytes, ${answer.value.body[0]}`);
    else print(`${answer.failure.code} ${answer.failure.detail}`);
  };

  return { start: () => void timers.after(60_000, reading) };
};
