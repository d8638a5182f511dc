import { SnapshotError } from "../snapshot.ts";
import { MemoryTree } from "../tree/memory-tree.ts";

/** Bytes that are mostly zero: how many there are, and the rows of 16 that are not all zero, as hex by their offset. */
export interface CapturedBytes {
  readonly size: number;
  readonly rows: Readonly<Record<string, string>>;
}

/** A captured host as JSON that people can read and compare: what `readSysfs` reads of one, by folder and name. */
export interface CapturedHost {
  /** What captured it, where and when. */
  readonly provenance: string;
  /** Targets of symbolic links. */
  readonly links: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Texts of files; the folder "" is the top. */
  readonly files: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Configuration spaces by the function's folder. */
  readonly config: Readonly<Record<string, CapturedBytes>>;
  /** ACPI tables by signature. */
  readonly tables: Readonly<Record<string, CapturedBytes>>;
}

const ROW = 16;
/** Nothing in a capture is larger than this; a configuration space has 4 KiB. */
const LARGEST = 1024 * 1024;

const fail = (name: string, problem: string): never => {
  throw new SnapshotError(`The captured host ${name} is malformed: ${problem}.`);
};

const section = (name: string, value: unknown, what: string): [string, unknown][] => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return fail(name, `${what} is ${value === undefined ? "missing" : "no object"}`);
  return Object.entries(value);
};

const addRow = (name: string, what: string, bytes: Uint8Array, offset: string, hex: unknown): void => {
  const at = /^0x[0-9a-f]{3,}$/.test(offset) ? Number(offset) : Number.NaN;
  if (!(at % ROW === 0 && at < bytes.length)) fail(name, `${what} has a row at "${offset}"; rows start at multiples of 0x10 below its size, 0x${bytes.length.toString(16)}`);
  const length = Math.min(ROW, bytes.length - at);
  if (typeof hex !== "string" || hex.length !== 2 * length || !/^[0-9a-f]*$/.test(hex)) return fail(name, `the row ${offset} of ${what} is not ${2 * length} hexadecimal digits`);
  for (let i = 0; i < length; i++) bytes[at + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
};

const unpackBytes = (name: string, value: unknown, what: string): Uint8Array => {
  const { size, rows } = Object.fromEntries(section(name, value, what));
  if (typeof size !== "number" || !Number.isInteger(size) || size < 0 || size > LARGEST) return fail(name, `the size of ${what} is no number of bytes from 0 to 0x${LARGEST.toString(16)}`);
  const bytes = new Uint8Array(size);
  for (const [offset, hex] of section(name, rows, `the row list of ${what}`)) addRow(name, what, bytes, offset, hex);
  return bytes;
};

/** The files of a captured host. @throws SnapshotError when the data is not a `CapturedHost` */
export const capturedTree = (name: string, data: unknown): MemoryTree => {
  const { provenance, links, files, config, tables } = Object.fromEntries(section(name, data, "the file"));
  if (typeof provenance !== "string") fail(name, "provenance is no text");
  const tree = new MemoryTree(name);
  const add = (folder: string, file: string, put: (path: string) => unknown): void => {
    const path = folder === "" ? file : `${folder}/${file}`;
    try {
      put(path);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      fail(name, error.message.replace(/\.$/, ""));
    }
  };
  const addTexts = (value: unknown, what: string, put: (path: string, text: string) => unknown): void => {
    for (const [folder, entries] of section(name, value, what))
      for (const [file, text] of section(name, entries, `${what}["${folder}"]`)) {
        if (typeof text !== "string") return fail(name, `${what}["${folder}"]["${file}"] is no text`);
        add(folder, file, (path) => put(path, text));
      }
  };
  addTexts(links, "links", (path, target) => tree.addLink(path, target));
  addTexts(files, "files", (path, text) => tree.addFile(path, text));
  for (const [folder, bytes] of section(name, config, "config")) add(folder, "config", (path) => tree.addFile(path, unpackBytes(name, bytes, path)));
  for (const [signature, bytes] of section(name, tables, "tables")) add("sys/firmware/acpi/tables", signature, (path) => tree.addFile(path, unpackBytes(name, bytes, signature)));
  return tree;
};
