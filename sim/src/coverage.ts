/** What every full run must meet at least once; one that does not proves less than it says, and fails. */
export const mustMeet: readonly string[] = [];
