import { board } from "tallystick/board/native";

/** `embedded:io/analog` of a simulated board. */
export default board.Analog;
