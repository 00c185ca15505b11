import { board } from "tallystick/board/native";

/** `embedded:provider/builtin` of a simulated board: its IO classes, and the options of its first bus. */
const device = Object.freeze({
  io: Object.freeze({ I2C: board.I2C, SMBus: board.SMBus, Analog: board.Analog, Digital: board.Digital }),
  I2C: Object.freeze({ default: Object.freeze({ io: board.I2C, bus: 0, hz: 400_000 }) }),
  SMBus: Object.freeze({ default: Object.freeze({ io: board.SMBus, bus: 0, hz: 400_000 }) }),
});

export default device;
