import { createReadStream, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { CommandError, ExitCode } from "../exit-code.ts";

/** Longest line of a trace; the format's longest are a few thousand characters. Also what an endless line costs at most. */
const LINE_LIMIT = 2 ** 24;

const TRACE = /\.jsonl(?:\.gz)?$/i;

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const reasonOf = (error: unknown): string => (error instanceof Error ? ("code" in error && error.code === "ENOENT" ? "there is no such file" : error.message) : String(error));

/** A file to replay. */
export interface TraceFile {
  /** The path as given, or below the folder that was given. */
  readonly path: string;
  /** Reading it again gives the same; a pipe does not. */
  readonly again: boolean;
}

const inFolder = (folder: string): TraceFile[] => {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => TRACE.test(name));
  if (names.length === 0) throw bad(`${folder} holds no .jsonl or .jsonl.gz file.`);
  return names.sort().map((name) => ({ path: join(folder, name), again: true }));
};

/** The traces that arguments name: files as given, folders with all traces below them. @throws CommandError for a path that is neither */
export const traceFiles = (paths: readonly string[]): TraceFile[] =>
  paths.flatMap((path) => {
    try {
      const kind = statSync(path);
      return kind.isDirectory() ? inFolder(path) : { path, again: kind.isFile() };
    } catch (error) {
      throw error instanceof CommandError ? error : bad(`Cannot open ${path}: ${reasonOf(error)}.`);
    }
  });

/** Unpacks where the first bytes are gzip's, piece by piece: a small file that unpacks to much costs no memory. RFC 1952 §2.3.1. */
const unpacked = async function* (stream: Readable): AsyncGenerator<Uint8Array> {
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let head = new Uint8Array();
  while (head.length < 2) {
    const next = await pieces.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    yield head;
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
  };
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    yield* whole();
    return;
  }
  // Loaded here, not on top: the bundle is one file, and --help needs no decompressor.
  const { createGunzip } = process.getBuiltinModule("node:zlib");
  const { pipeline } = process.getBuiltinModule("node:stream");
  const gunzip = createGunzip();
  pipeline(whole, gunzip, () => undefined);
  yield* gunzip as AsyncIterable<Uint8Array>;
};

/**
 * The lines of a trace, packed or not.
 * @throws CommandError when the file cannot be read, is damaged, or has a line that no trace has
 */
export const traceLines = async function* (path: string): AsyncGenerator<string> {
  let line = 1;
  const fail = (message: string): CommandError => bad(`${path}:${line}: ${message}.`);
  const text = (bytes: Uint8Array): string => {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw fail("not text in UTF-8");
    }
  };
  let pending: Uint8Array[] = [];
  let length = 0;
  const take = (last: Uint8Array): string => {
    const bytes = pending.length === 0 ? last : Buffer.concat([...pending, last]);
    pending = [];
    length = 0;
    return text(bytes);
  };
  try {
    for await (const piece of unpacked(createReadStream(path))) {
      let from = 0;
      for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, from)) {
        yield take(piece.subarray(from, end));
        line++;
        from = end + 1;
      }
      pending.push(piece.subarray(from));
      length += piece.length - from;
      if (length > LINE_LIMIT) throw fail(`a line of more than ${LINE_LIMIT} bytes; this is no trace`);
    }
  } catch (error) {
    throw error instanceof Error && !(error instanceof CommandError) && "code" in error ? bad(`Cannot read ${path}: ${reasonOf(error)}.`) : error;
  }
  if (length > 0) yield take(new Uint8Array());
};
