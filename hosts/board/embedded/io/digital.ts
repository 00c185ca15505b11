import { board } from "tallystick/board/native";

/** `embedded:io/digital` of a simulated board. */
export default board.Digital;
