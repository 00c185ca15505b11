import { board } from "tallystick/board/native";

/** `embedded:io/smbus` of a simulated board. */
export default board.SMBus;
