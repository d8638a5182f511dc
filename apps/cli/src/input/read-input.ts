import { closeSync, createReadStream, fstatSync, openSync, readFileSync } from "node:fs";
import { CommandError, ExitCode } from "../exit-code.ts";

/** Most that is read of one input. */
const LIMIT = 64 * 1024 * 1024;

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const readStream = async (name: string, stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of stream) {
    total += part.length;
    if (total > LIMIT) throw bad(`${name} holds more than ${LIMIT} bytes.`);
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
};

/** What a system error says, without its stack. */
const reason = (error: unknown): string => (error instanceof Error && "code" in error && error.code === "ENOENT" ? "there is no such file" : error instanceof Error && "code" in error && error.code === "EACCES" ? "permission denied (try sudo)" : error instanceof Error ? error.message : String(error));

/**
 * Reads a file, or standard input for "-", into memory.
 * @throws CommandError with exit code 2 when it cannot be read, is a folder, or is empty
 */
export const readInput = async (path: string): Promise<{ readonly name: string; readonly bytes: Uint8Array }> => {
  const name = path === "-" ? "standard input" : path;
  let bytes: Uint8Array;
  if (path === "-") bytes = await readStream(name, createReadStream("", { fd: 0, autoClose: false }) as AsyncIterable<Uint8Array>);
  else {
    let file: number | undefined;
    try {
      file = openSync(path, "r");
      const stat = fstatSync(file);
      if (stat.isDirectory()) throw bad(`${path} is a folder; give a file.`);
      if (stat.size > LIMIT) throw bad(`${path} has ${stat.size} bytes; at most ${LIMIT} are read.`);
      bytes = stat.isFile() ? readFileSync(file) : await readStream(name, createReadStream(path, { fd: file, autoClose: false }) as AsyncIterable<Uint8Array>);
    } catch (error) {
      throw error instanceof CommandError ? error : bad(`Cannot read ${path}: ${reason(error)}.`);
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
  if (bytes.length === 0) throw bad(`${name} is empty.`);
  return { name, bytes: new Uint8Array(bytes) };
};
