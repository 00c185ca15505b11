import { board } from "tallystick/board/native";

/** `embedded:storage/key-value` of a simulated board. */
export default board.keyValue;
