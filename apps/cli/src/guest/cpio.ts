/** One entry of an initial file system. */
export type CpioEntry = { readonly path: string; readonly mode: number } & ({ readonly kind: "folder" } | { readonly kind: "file"; readonly bytes: Uint8Array } | { readonly kind: "link"; readonly target: string });

const TYPE = { folder: 0o04_0000, file: 0o10_0000, link: 0o12_0000 } as const;

const padded = (length: number): number => (length + 3) & ~3;

const contents = (entry: CpioEntry): Uint8Array => (entry.kind === "file" ? entry.bytes : Buffer.from(entry.kind === "link" ? entry.target : ""));

/** "newc" header, name and body, each padded to 4 bytes. Linux Documentation/driver-api/early-userspace/buffer-format. */
const entryBytes = (inode: number, path: string, mode: number, body: Uint8Array): Uint8Array[] => {
  const name = Buffer.from(`${path}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, body.length, 0, 0, 0, 0, name.length, 0];
  const head = Buffer.alloc(padded(110 + name.length));
  head.write(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`, "latin1");
  name.copy(head, 110);
  return [head, body, Buffer.alloc(padded(body.length) - body.length)];
};

/** An uncompressed archive that Linux unpacks as its first root file system. Folders must come before what is in them. */
export const cpioArchive = (entries: readonly CpioEntry[]): Uint8Array =>
  Buffer.concat([...entries.flatMap((entry, i) => entryBytes(i + 1, entry.path, TYPE[entry.kind] | entry.mode, contents(entry))), ...entryBytes(0, "TRAILER!!!", 0, new Uint8Array())]);
