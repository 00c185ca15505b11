import { board } from "tallystick/board/native";

/** `embedded:storage/flash` of a simulated board. */
export default board.flash;
