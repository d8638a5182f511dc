import { toText } from "./text.ts";

/**
 * Files of a Linux host by path, without the leading slash: "sys/bus/pci/devices". Live, unpacked or archived.
 * Nothing here follows links by itself: `realPath` does, and never leaves the tree.
 */
export interface FileTree {
  /** Where it comes from, for messages. */
  readonly name: string;
  /** Names in a folder, sorted; empty when there is no such folder. */
  list(path: string): readonly string[];
  /** Contents of a regular file; undefined when it is not there or may not be read. */
  read(path: string): Uint8Array | undefined;
  /** Where a symbolic link points, as written; undefined when `path` is no link. */
  link(path: string): string | undefined;
}

const MOST_LINKS = 40;

/** Folds "." and ".."; undefined when the path climbs out of the tree. */
export const normalize = (path: string): string | undefined => {
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (kept.pop() === undefined) return undefined;
    } else kept.push(part);
  }
  return kept.join("/");
};

const parts = (clean: string): string[] => (clean === "" ? [] : clean.split("/"));

/** The path with every link followed, links out of the tree refused; undefined for circles and escapes. */
export const realPath = (tree: FileTree, path: string): string | undefined => {
  const start = normalize(path);
  if (start === undefined) return undefined;
  let rest = parts(start);
  let done: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const [head = "", ...tail] = rest;
    const at = [...done, head].join("/");
    const target = tree.link(at);
    if (target === undefined) {
      done.push(head);
      rest = tail;
      continue;
    }
    if (++links > MOST_LINKS) return undefined;
    const next = normalize(target.startsWith("/") ? target : [...done, target].join("/"));
    if (next === undefined) return undefined;
    rest = [...parts(next), ...tail];
    done = [];
  }
  return done.join("/");
};

/** Last part of a path. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** A file as text without the final line break; undefined when it is not there. */
export const readText = (tree: FileTree, path: string): string | undefined => {
  const bytes = tree.read(path);
  return bytes && toText(bytes).replace(/\n$/, "");
};

/** A file holding one number as the kernel prints it, "0x8086" or "42"; undefined when it is not there or is no number. */
export const readNumber = (tree: FileTree, path: string): number | undefined => {
  const text = readText(tree, path)?.trim();
  if (text === undefined || !/^(0x[0-9a-f]+|-?[0-9]+)$/i.test(text)) return undefined;
  return Number(text);
};
