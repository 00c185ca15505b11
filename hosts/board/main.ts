import application from "application";
import { ed25519, sha256 } from "tallystick-native";
import { createCrypto } from "./crypto.js";
import { board } from "./native.js";
import { startApplication } from "./start.js";

/** The entry of a simulated board: the maker's application on the wire and the C of its engine. */
startApplication(board, createCrypto({ sha256, ed25519 }), application);
