import { closeSync, openSync, writeSync } from "node:fs";
import { constants, gzipSync } from "node:zlib";
import { CommandError, ExitCode } from "../exit-code.ts";

/** A machine trace on its way to a file. */
export interface TraceFileWriter {
  readonly line: (text: string) => void;
  close(): void;
}

const AT_ONCE = 2 ** 20;

/** Opens a file for the lines of a trace; the name's ending says whether they are compressed. @throws CommandError */
export const openTrace = (path: string): TraceFileWriter => {
  let fd: number;
  try {
    fd = openSync(path, "w");
  } catch (error) {
    throw new CommandError(ExitCode.BadInput, `${path} cannot be written: ${error instanceof Error ? error.message : String(error)}.`);
  }
  // Each piece is a whole gzip member: what was written before a crash can be read.
  const pack = (text: string): Uint8Array => (path.endsWith(".gz") ? gzipSync(text, { level: constants.Z_BEST_SPEED }) : Buffer.from(text));
  let waiting: string[] = [];
  let length = 0;
  const flush = (): void => {
    if (waiting.length > 0) writeSync(fd, pack(waiting.join("")));
    waiting = [];
    length = 0;
  };
  return {
    line: (text) => {
      waiting.push(`${text}\n`);
      length += text.length;
      if (length > AT_ONCE) flush();
    },
    close: () => {
      flush();
      closeSync(fd);
    },
  };
};
