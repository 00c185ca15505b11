import { board } from "tallystick/board/native";

/** The SDK's `timer` of a simulated board. */
export default board.Timer;
