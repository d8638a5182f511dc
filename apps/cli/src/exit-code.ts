/** What a command's exit says to scripts. */
export const ExitCode = {
  /** Nothing to report. */
  Fine: 0,
  /** Done, and something was found: a difference, a conflict. */
  Finding: 1,
  /** Bad input or arguments. */
  BadInput: 2,
  /** What was asked for cannot be done on that host. */
  Refused: 3,
  /** The input is good, but does not show enough to answer. */
  NotEnough: 4,
  /** A guest was still running when its time was over; as timeout(1). */
  TimedOut: 124,
  /** A fault of the program itself; sysexits' EX_SOFTWARE. */
  Fault: 70,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Ends a command with a message on standard error. The message says what to do next. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** By name, not by class: the build holds this file twice, in the launcher and in the commands it compiles later. */
export const isCommandError = (error: unknown): error is CommandError => error instanceof Error && error.name === "CommandError" && "exitCode" in error;
