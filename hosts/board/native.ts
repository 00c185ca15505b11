import { call, onEvent } from "wire";
import { boardOver } from "./start.js";

/** The board that this engine instance is: what the embedded:* modules and the entry share. Never preloaded. */
export const board = boardOver({ call, onEvent });
