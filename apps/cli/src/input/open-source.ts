import { createReadStream, readFileSync, statSync } from "node:fs";
import { hasSysfs, isTar, looksLikeLspci, lspciSnapshot, parseLspci, readSysfs, readTar, SnapshotError, TAR_LIMITS, toText, type FileTree, type HostSnapshot, type IdsByName } from "@iommu-lab/host";
import { CommandError, ExitCode } from "../exit-code.ts";
import { FolderTree } from "./folder-tree.ts";
import { liveTree } from "./live-host.ts";
import { SOURCES } from "./sources.ts";

const GIVES = "lspci text is best made with: sudo lspci -D -nn -vvv";

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const PACKED: readonly (readonly [string, readonly number[], string])[] = [
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz -d"],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd], "zstd -d"],
  ["bzip2", [0x42, 0x5a, 0x68], "bzip2 -d"],
  ["zip", [0x50, 0x4b, 0x03, 0x04], "unzip"],
];

/** What the last four bytes of a gzip file state, as a hint for one buffer of the right size; bounded, for it may lie. RFC 1952 §2.3.1. */
const unpackedSize = (bytes: Uint8Array): number => {
  const stated = bytes.length < 18 ? 0 : new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getUint32(0, true);
  return Math.min(Math.max(stated + 1, 64 * 1024), 64 * 1024 * 1024);
};

/** A file's contents, unpacked where it is a gzip file. @throws CommandError for other packers and damaged files */
export const unpack = (name: string, bytes: Uint8Array): Uint8Array => {
  for (const [kind, magic, command] of PACKED) if (magic.every((byte, i) => bytes[i] === byte)) throw bad(`${name} is packed with ${kind}; unpack it first (${command}).`);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  // Loaded here, not on top: the bundle is one file, and --help needs no decompressor.
  const { gunzipSync } = process.getBuiltinModule("node:zlib");
  try {
    return gunzipSync(bytes, { maxOutputLength: TAR_LIMITS.bytes, chunkSize: unpackedSize(bytes) });
  } catch (error) {
    throw bad(`${name} is a damaged gzip file, or unpacks to more than ${TAR_LIMITS.bytes} bytes: ${error instanceof Error ? error.message : String(error)}.`);
  }
};

/** Reads what states no size of its own: a pipe, a device. */
const readStream = async (name: string, stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of stream) {
    total += part.length;
    if (total > TAR_LIMITS.bytes) throw bad(`${name} holds more than ${TAR_LIMITS.bytes} bytes.`);
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
};

const fromText = (name: string, text: string, ids: () => IdsByName | undefined): HostSnapshot[] => {
  if (!looksLikeLspci(text)) throw bad(`${name} is neither ${SOURCES}. ${GIVES}`);
  const hosts = parseLspci(text);
  if (hosts.length === 0) throw bad(`${name} mentions PCI functions, but none could be read from it. ${GIVES}`);
  const needsNames = hosts.some((host) => host.functions.some((f) => f.device === undefined && f.name !== undefined));
  const database = needsNames ? ids() : undefined;
  return hosts.map((host, i) => lspciSnapshot(host, hosts.length > 1 ? `${name}, host ${i + 1}` : name, database));
};

/** A tree with /sys, else the lspci texts that lie in it. */
const fromTree = (tree: FileTree, warnings: readonly string[], ids: () => IdsByName | undefined): HostSnapshot[] => {
  if (hasSysfs(tree)) return [readSysfs(tree, warnings)];
  for (const name of tree.list("")) {
    const bytes = /lspci/i.test(name) ? tree.read(name) : undefined;
    if (bytes && looksLikeLspci(toText(bytes))) return fromText(`${tree.name}/${name}`, toText(bytes), ids);
  }
  throw bad(`${tree.name} holds no sys/bus/pci/devices and no lspci text. Capture a host with: iommu snapshot -o FILE.tar.gz`);
};

const fromBytes = async (name: string, packed: Uint8Array, ids: () => IdsByName | undefined): Promise<HostSnapshot[]> => {
  if (packed.length === 0) throw bad(`${name} is empty. Give ${SOURCES}.`);
  const bytes = unpack(name, packed);
  if (!isTar(bytes)) {
    if (bytes.subarray(0, 4096).includes(0)) throw bad(`${name} is neither ${SOURCES}: it is binary, but no tar archive.`);
    return fromText(name, toText(bytes), ids);
  }
  try {
    const { tree, refused } = await readTar(name, bytes);
    const warnings = refused.length > 0 ? [`${refused.length} entries of ${name} name places outside of it and were left out, the first: ${JSON.stringify(refused[0])}.`] : [];
    return fromTree(tree, warnings, ids);
  } catch (error) {
    throw error instanceof SnapshotError ? bad(error.message) : error;
  }
};

/** What a path names: a folder, or the bytes of a file, a pipe or standard input. */
export type Opened = { readonly kind: "folder"; readonly tree: FileTree } | { readonly kind: "bytes"; readonly name: string; readonly bytes: Uint8Array };

/** @throws CommandError with exit code 2 for what is not there, too large or unreadable */
export const openPath = async (from: string): Promise<Opened> => {
  if (from === "-") return { kind: "bytes", name: "standard input", bytes: await readStream("standard input", createReadStream("", { fd: 0, autoClose: false }) as AsyncIterable<Uint8Array>) };
  let kind: ReturnType<typeof statSync>;
  try {
    kind = statSync(from);
  } catch (error) {
    throw bad(`Cannot open ${from}: ${error instanceof Error && "code" in error && error.code === "ENOENT" ? "there is no such file" : String(error)}.`);
  }
  if (kind.isDirectory()) return { kind: "folder", tree: new FolderTree(from, from) };
  if (!kind.isFile()) return { kind: "bytes", name: from, bytes: await readStream(from, createReadStream(from) as AsyncIterable<Uint8Array>) };
  if (kind.size > TAR_LIMITS.bytes) throw bad(`${from} has ${kind.size} bytes; at most ${TAR_LIMITS.bytes} are read.`);
  try {
    return { kind: "bytes", name: from, bytes: readFileSync(from) };
  } catch (error) {
    throw bad(`Cannot read ${from}: ${error instanceof Error ? error.message : String(error)}.`);
  }
};

/**
 * Opens what `--from` names; without it, the machine this runs on.
 * @param ids asked only for texts without numbers
 * @throws CommandError with exit code 2 for anything that cannot be read
 */
export const openSource = async (from: string | undefined, ids: () => IdsByName | undefined): Promise<HostSnapshot[]> => {
  if (from === undefined) {
    const tree = liveTree();
    if (!hasSysfs(tree)) throw new CommandError(ExitCode.NotEnough, `This machine shows no PCI functions in /sys/bus/pci/devices. Give ${SOURCES} with --from.`);
    return [readSysfs(tree)];
  }
  const opened = await openPath(from);
  return opened.kind === "folder" ? fromTree(opened.tree, [], ids) : fromBytes(opened.name, opened.bytes, ids);
};
