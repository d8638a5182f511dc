import { packTar, type TarEntry } from "modern-tar";
import type { MemoryTree } from "../tree/memory-tree.ts";

/** A tree as an uncompressed tar archive that `readTar` reads back; times and owners are zero, so equal trees give equal bytes. */
export const packTree = async (tree: MemoryTree): Promise<Uint8Array> => {
  const entries = tree.paths().map((path): TarEntry => {
    const target = tree.link(path);
    const header = { name: path, mode: 0o644, uid: 0, gid: 0, mtime: EPOCH };
    const body = tree.read(path) ?? new Uint8Array();
    return target === undefined ? { header: { ...header, size: body.length }, body } : { header: { ...header, size: 0, type: "symlink", linkname: target } };
  });
  return packTar(entries);
};

const EPOCH = new Date(0);
