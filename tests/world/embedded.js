import Analog from "embedded:io/analog";
import Digital from "embedded:io/digital";
import I2C from "embedded:io/i2c";
import SMBus from "embedded:io/smbus";
import device from "embedded:provider/builtin";
import FlashStorage from "embedded:storage/flash";
import KeyValueStorage from "embedded:storage/key-value";
import Timer from "timer";

/** A maker's module that talks to the SDK's specifiers, not to a platform: what it finds, it prints. */
export default (platform) => ({
  start() {
    const { print } = platform;
    const i2c = new I2C({ ...device.I2C.default, address: 0x40 });
    i2c.write(Uint8Array.of(2, 0x12, 0x34));
    i2c.close();
    const smbus = new SMBus({ ...device.SMBus.default, address: 0x40 });
    print(`i2c ${smbus.readUint16(2, true).toString(16)}`);
    try {
      new I2C({ address: 0x22 }).read(1);
    } catch (error) {
      print(`${error.name} ${error.message}`);
    }
    const light = new Analog({ pin: 1 });
    print(`analog ${light.read() / (1 << light.resolution)}`);
    const button = new Digital({
      pin: 4,
      mode: Digital.Input,
      edge: Digital.Rising | Digital.Falling,
      onReadable() {
        print(`button ${this.read()}`);
      },
    });
    print(`button ${button.read()}`);
    const flash = FlashStorage.open({ path: "chain", mode: "r+" });
    flash.eraseBlock(0);
    flash.write(Uint8Array.of(1, 2, 3), 300);
    print(`flash ${new Uint8Array(flash.read(3, 300))} ${flash.status().blocks} ${[...FlashStorage]}`);
    const settings = KeyValueStorage.open({ path: "settings", format: "string" });
    settings.write("name", "dachboden");
    print(`key ${settings.read("name")} ${[...settings]}`);
    let count = 0;
    Timer.repeat((timer) => {
      print(`tick ${++count}`);
      if (count === 3) Timer.clear(timer);
    }, 100);
  },
});
