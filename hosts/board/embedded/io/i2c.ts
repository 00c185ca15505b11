import { board } from "tallystick/board/native";

/** `embedded:io/i2c` of a simulated board. */
export default board.I2C;
