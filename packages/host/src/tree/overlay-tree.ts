import type { FileTree } from "./file-tree.ts";

/** Several trees as one: what the first does not have, the next may. */
export class OverlayTree implements FileTree {
  readonly name: string;
  readonly #trees: readonly FileTree[];

  constructor(name: string, trees: readonly FileTree[]) {
    this.name = name;
    this.#trees = trees;
  }

  list(path: string): readonly string[] {
    return [...new Set(this.#trees.flatMap((tree) => tree.list(path)))].sort();
  }

  read(path: string): Uint8Array | undefined {
    for (const tree of this.#trees) {
      const bytes = tree.read(path);
      if (bytes) return bytes;
    }
    return undefined;
  }

  link(path: string): string | undefined {
    for (const tree of this.#trees) {
      const target = tree.link(path);
      if (target !== undefined) return target;
    }
    return undefined;
  }
}
