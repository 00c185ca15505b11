/** What a simulation runs on: the one thing in which lanes A and B differ. */

/** The wire as an instance sees it (hosts/board/WIRE.md). It throws where a call does not return. */
export type WireCall = (operation: number, request: Uint8Array) => Uint8Array;

/** One start of a board, running. */
export interface Instance {
  /** Delivers an event and runs until the board is idle. Rejects with what ended the start. */
  event(bytes: Uint8Array): Promise<void>;
  /** Throws the instance away; it makes no call from then on. */
  discard(): void;
}

export interface Lane {
  readonly name: string;
  /** Starts the application and runs until the board is idle. Rejects with what ended the start. */
  boot(call: WireCall): Promise<Instance>;
}
