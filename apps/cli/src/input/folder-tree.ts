import { lstatSync, openSync, readdirSync, readlinkSync, readSync, closeSync } from "node:fs";
import { normalize, type FileTree } from "@iommu-lab/host";

/** Largest file that is read whole; firmware tables and logs stay well below. */
const LARGEST_FILE = 64 * 1024 * 1024;

/** Files below a folder: a live host's root, or an unpacked snapshot. Unreadable is the same as absent. */
export class FolderTree implements FileTree {
  readonly name: string;
  readonly #root: string;
  readonly #extra: ReadonlyMap<string, Uint8Array>;

  /** @param extra files that are not in the file system, such as the output of dmesg */
  constructor(name: string, root: string, extra: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.name = name;
    this.#root = root.endsWith("/") ? root : `${root}/`;
    this.#extra = extra;
  }

  list(path: string): readonly string[] {
    try {
      return readdirSync(this.#at(path)).sort();
    } catch {
      return [];
    }
  }

  read(path: string): Uint8Array | undefined {
    const extra = this.#extra.get(path);
    if (extra) return extra;
    try {
      const at = this.#at(path);
      if (!lstatSync(at).isFile()) return undefined;
      return readAll(at);
    } catch {
      return undefined;
    }
  }

  link(path: string): string | undefined {
    try {
      return readlinkSync(this.#at(path));
    } catch {
      return undefined;
    }
  }

  #at(path: string): string {
    return this.#root + (normalize(path) ?? "");
  }
}

/** sysfs files state sizes that reading does not give (4096 for a configuration space that shows 64), so read to the end. */
const readAll = (path: string): Uint8Array => {
  const file = openSync(path, "r");
  try {
    const parts: Uint8Array[] = [];
    let total = 0;
    for (;;) {
      const part = new Uint8Array(65536);
      const count = readSync(file, part);
      if (count === 0) break;
      total += count;
      if (total > LARGEST_FILE) throw new RangeError(`${path} is larger than ${LARGEST_FILE} bytes.`);
      parts.push(part.subarray(0, count));
    }
    const [only] = parts;
    if (parts.length === 1 && only) return only.slice();
    const all = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  } finally {
    closeSync(file);
  }
};
