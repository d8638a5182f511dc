import { normalize, type FileTree } from "./file-tree.ts";
import { toBytes } from "./text.ts";

type Entry = { readonly kind: "file"; readonly bytes: Uint8Array } | { readonly kind: "link"; readonly target: string } | { readonly kind: "folder"; readonly names: Set<string> };

/** A file tree held in memory: what an archive contains, or what a test writes. */
export class MemoryTree implements FileTree {
  readonly name: string;
  readonly #entries = new Map<string, Entry>([["", { kind: "folder", names: new Set() }]]);

  constructor(name: string) {
    this.name = name;
  }

  /** @throws RangeError when the path climbs out of the tree or goes through a file */
  addFile(path: string, contents: Uint8Array | string): this {
    return this.#add(path, { kind: "file", bytes: typeof contents === "string" ? toBytes(contents) : contents });
  }

  /** @throws RangeError as `addFile` */
  addLink(path: string, target: string): this {
    return this.#add(path, { kind: "link", target });
  }

  addFolder(path: string): this {
    this.#folder(this.#clean(path));
    return this;
  }

  /** Takes a file, a link or a whole folder away. */
  remove(path: string): this {
    const clean = this.#clean(path);
    for (const key of [...this.#entries.keys()]) if (key === clean || key.startsWith(`${clean}/`)) this.#entries.delete(key);
    const parent = this.#entries.get(clean.slice(0, Math.max(0, clean.lastIndexOf("/"))));
    if (parent?.kind === "folder") parent.names.delete(clean.slice(clean.lastIndexOf("/") + 1));
    return this;
  }

  list(path: string): readonly string[] {
    const entry = this.#entries.get(path);
    return entry?.kind === "folder" ? [...entry.names].sort() : [];
  }

  read(path: string): Uint8Array | undefined {
    const entry = this.#entries.get(path);
    return entry?.kind === "file" ? entry.bytes : undefined;
  }

  link(path: string): string | undefined {
    const entry = this.#entries.get(path);
    return entry?.kind === "link" ? entry.target : undefined;
  }

  /** Paths of all files and links, sorted. */
  paths(): string[] {
    return [...this.#entries].filter(([, entry]) => entry.kind !== "folder").map(([path]) => path).sort();
  }

  #clean(path: string): string {
    const clean = normalize(path);
    if (clean === undefined || path.startsWith("/") || clean === "") throw new RangeError(`"${path.slice(0, 200)}" is not a path inside the tree.`);
    return clean;
  }

  #folder(path: string): Set<string> {
    const entry = this.#entries.get(path);
    if (entry?.kind === "folder") return entry.names;
    if (entry) throw new RangeError(`"${path.slice(0, 200)}" is a ${entry.kind}, not a folder.`);
    const names = new Set<string>();
    const slash = path.lastIndexOf("/");
    this.#folder(slash < 0 ? "" : path.slice(0, slash)).add(path.slice(slash + 1));
    this.#entries.set(path, { kind: "folder", names });
    return names;
  }

  #add(path: string, entry: Entry): this {
    const clean = this.#clean(path);
    const slash = clean.lastIndexOf("/");
    this.#folder(slash < 0 ? "" : clean.slice(0, slash)).add(clean.slice(slash + 1));
    if (this.#entries.get(clean)?.kind !== "folder") this.#entries.set(clean, entry);
    return this;
  }
}
