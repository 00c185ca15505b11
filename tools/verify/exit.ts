/** Exit status of `tallystick verify`, for scripts. */
export const VERIFY_EXIT = { proved: 0, false: 1, unreadable: 2, incomplete: 3 } as const;
