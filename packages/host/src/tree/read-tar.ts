import { unpackTar } from "modern-tar";
import { SnapshotError } from "../snapshot.ts";
import { normalize } from "./file-tree.ts";
import { MemoryTree } from "./memory-tree.ts";

/** Bounds for archives from strangers. */
export interface TarLimits {
  /** Entries at most; a real host has some ten thousand. */
  readonly entries: number;
  /** Bytes of the unpacked archive at most. */
  readonly bytes: number;
}

export const TAR_LIMITS: TarLimits = { entries: 200_000, bytes: 512 * 1024 * 1024 };

/** Whether the bytes look like a tar archive: "ustar" at 257, or a header whose checksum is right. */
export const isTar = (bytes: Uint8Array): boolean => {
  if (bytes.length < 512) return false;
  return ascii(bytes, 257, 262) === "ustar" || hasChecksum(bytes, 0);
};

const ascii = (bytes: Uint8Array, from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));

const CHECKSUM = 148;
const CHECKSUM_END = 156;

/** Sum of a header's bytes, the checksum itself counted as spaces. */
const sumOf = (bytes: Uint8Array, at: number, byteOf: (byte: number) => number): number => {
  let sum = 32 * (CHECKSUM_END - CHECKSUM);
  for (let i = at; i < at + CHECKSUM; i++) sum += byteOf(bytes[i] as number);
  for (let i = at + CHECKSUM_END; i < at + 512; i++) sum += byteOf(bytes[i] as number);
  return sum;
};

/** Whether a header's checksum is right; programs of old added the bytes as signed numbers. */
const hasChecksum = (bytes: Uint8Array, at: number): boolean => {
  const stated = Number.parseInt(ascii(bytes, at + CHECKSUM, at + CHECKSUM_END), 8);
  return stated > 256 && (stated === sumOf(bytes, at, (byte) => byte) || stated === sumOf(bytes, at, (byte) => (byte < 128 ? byte : byte - 256)));
};

/** The size an entry states: octal digits, or, as GNU tar writes large ones, base 256 behind a set first bit. */
const statedSize = (field: Uint8Array): number => {
  const first = field[0] as number;
  if (first === 0x80) return field.subarray(1).reduce((size, byte) => size * 256 + byte, 0);
  return first & 0x80 ? Number.NaN : Number.parseInt(ascii(field, 0, 12).replace(/[\0 ]+$/, "").trim() || "0", 8);
};

/**
 * Reads an uncompressed tar archive that mirrors a host's paths.
 * Entries that name a place outside the tree are left out and listed in `refused`; one common first folder is taken off.
 * @throws SnapshotError when the archive is damaged or past the limits
 */
export const readTar = async (name: string, bytes: Uint8Array, limits: TarLimits = TAR_LIMITS): Promise<{ tree: MemoryTree; refused: string[] }> => {
  if (bytes.length > limits.bytes) throw new SnapshotError(`${name} unpacks to ${bytes.length} bytes; at most ${limits.bytes} are read.`);
  checkSizes(name, bytes, limits);
  let entries: Awaited<ReturnType<typeof unpackTar>>;
  try {
    entries = await unpackTar(bytes);
  } catch (error) {
    throw new SnapshotError(`${name} is a damaged tar archive: ${error instanceof Error ? error.message : String(error)}`);
  }
  const tree = new MemoryTree(name);
  const refused: string[] = [];
  const prefix = commonFolder(entries.map((entry) => entry.header.name));
  for (const { header, data } of entries) {
    const path = header.name.startsWith("/") ? undefined : normalize(header.name)?.slice(prefix.length);
    if (path === undefined || header.name.split("/").includes("..")) {
      refused.push(header.name.slice(0, 200));
      continue;
    }
    if (path === "") continue;
    try {
      if (header.type === "symlink") tree.addLink(path, header.linkname ?? "");
      else if (header.type === "directory") tree.addFolder(path);
      else if (header.type === "file" || header.type === undefined) tree.addFile(path, data ?? new Uint8Array());
    } catch {
      refused.push(header.name.slice(0, 200));
    }
  }
  return { tree, refused };
};

/** Walks the headers before anything is unpacked: wrong checksums, sizes that lie, entries past the limit. */
const checkSizes = (name: string, bytes: Uint8Array, limits: TarLimits): void => {
  let at = 0;
  for (let count = 0; at + 512 <= bytes.length; count++) {
    if (bytes[at] === 0) return;
    if (count >= limits.entries) throw new SnapshotError(`${name} has more than ${limits.entries} entries.`);
    if (!hasChecksum(bytes, at)) throw new SnapshotError(`${name} is a damaged tar archive: the header at byte ${at} has a wrong checksum.`);
    const size = statedSize(bytes.subarray(at + 124, at + 136));
    if (!(size >= 0 && at + 512 + size <= bytes.length)) throw new SnapshotError(`${name} is a damaged tar archive: the entry at byte ${at} states ${Number.isNaN(size) ? "an unreadable number of" : size} bytes, ${bytes.length - at - 512} follow.`);
    at += 512 + Math.ceil(size / 512) * 512;
  }
};

const HOST_FOLDERS = /^(?:\.\/)*(?:sys|proc|dev|dmesg|lspci|etc|boot|var|lib|run)\b/;

/** "host-1/" when everything lies in one folder that is not itself a host's top folder. */
const commonFolder = (names: readonly string[]): string => {
  const first = normalize(names[0] ?? "")?.split("/")[0];
  if (first === undefined || first === "" || HOST_FOLDERS.test(first)) return "";
  return names.every((name) => { const clean = normalize(name); return clean === first || clean?.startsWith(`${first}/`); }) ? `${first}/` : "";
};
