import { hasSysfs, isTar, readSysfs, readTar, SnapshotError, toText, type FileTree, type IdsByName } from "@iommu-lab/host";
import { gatherHost, recogniseText, type Gathered, type Piece } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";
import { DumpError, findTables, isText, type FoundTable } from "./acpi-bytes.ts";
import { openPath, openSource, unpack } from "./open-source.ts";

/** What `iommu doctor` takes, for messages. */
export const PIECES = "a snapshot, a folder, or any of: lspci, dmesg, /proc/cmdline, /proc/cpuinfo, listings of IOMMU groups, DMAR or IVRS (raw or acpidump), libvirt XML, a QEMU command line; - for standard input";

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const tablesOf = (name: string, bytes: Uint8Array, text: string | undefined): FoundTable[] => {
  try {
    return findTables(bytes, text);
  } catch (error) {
    throw error instanceof DumpError ? bad(`${name}: ${error.message}.`) : error;
  }
};

/** Everything that a file's bytes turn out to be; nothing known gives nothing. */
const piecesOfFile = (name: string, bytes: Uint8Array, ids: IdsByName): Piece[] => {
  const text = isText(bytes) ? toText(bytes) : undefined;
  const recognised = text === undefined ? undefined : recogniseText(text, name, ids);
  // Hex dumps of configuration spaces are no tables; a text of lspci is not searched for them.
  const tables = recognised && recognised.hosts.length > 0 ? [] : tablesOf(name, bytes, text);
  return [...tables.map(({ signature, bytes: table }): Piece => ({ kind: "table", signature, bytes: table })), ...(recognised && (recognised.kinds.length > 0 || recognised.warnings.length > 0) ? [{ kind: "text", recognised } as const] : [])];
};

/** Files at the top that a person adds to a machine's files: the VM's XML, a log. */
const EXTRA = /\.(?:xml|txt|log|dsl|dat|aml)$|^(?:dmesg|cmdline|cpuinfo|lspci|DMAR|IVRS)/i;

const piecesOfTree = (tree: FileTree, warnings: readonly string[], ids: IdsByName): Piece[] => {
  const isMachine = hasSysfs(tree);
  const files = tree.list("").flatMap((name) => {
    const bytes = EXTRA.test(name) && !(isMachine && /lspci|dmesg/i.test(name)) ? tree.read(name) : undefined;
    return bytes && bytes.length > 0 ? piecesOfFile(name, bytes, ids) : [];
  });
  return isMachine ? [{ kind: "snapshot", snapshot: readSysfs(tree, warnings) }, ...files] : files;
};

const piecesOf = async (from: string, ids: IdsByName): Promise<Piece[]> => {
  const opened = await openPath(from);
  if (opened.kind === "folder") return piecesOfTree(opened.tree, [], ids);
  if (opened.bytes.length === 0) throw bad(`${opened.name} is empty. Give ${PIECES}.`);
  const bytes = unpack(opened.name, opened.bytes);
  if (!isTar(bytes)) return piecesOfFile(opened.name, bytes, ids);
  try {
    const { tree, refused } = await readTar(opened.name, bytes);
    return piecesOfTree(tree, refused.length > 0 ? [`${refused.length} entries of ${opened.name} name places outside of it and were left out, the first: ${JSON.stringify(refused[0])}.`] : [], ids);
  } catch (error) {
    throw error instanceof SnapshotError ? bad(error.message) : error;
  }
};

/**
 * Puts a machine together from everything that is named; without names, the machine this runs on.
 * @throws CommandError with exit code 2 when something cannot be read, or is nothing known
 */
export const openHost = async (from: readonly string[], ids: IdsByName): Promise<Gathered> => {
  if (from.length === 0) return { snapshots: await openSource(undefined, () => ids), guests: [], recognised: ["this machine"] };
  const pieces: Piece[] = [];
  for (const each of from) {
    const found = await piecesOf(each, ids);
    if (found.length === 0) throw bad(`Nothing in ${each === "-" ? "standard input" : each} was recognised. Give ${PIECES}.`);
    pieces.push(...found);
  }
  return gatherHost(from.map((each) => (each === "-" ? "standard input" : each)).join(" and "), pieces);
};
