import { DumpError, findTables, isText, type FoundTable } from "@iommu-lab/pci-bus/acpi";
import type { IdsByName } from "../lspci/to-snapshot.ts";
import { SnapshotError } from "../snapshot.ts";
import { hasSysfs, readSysfs } from "../sysfs/read-sysfs.ts";
import type { FileTree } from "../tree/file-tree.ts";
import { isTar, readTar } from "../tree/read-tar.ts";
import { toText } from "../tree/text.ts";
import type { Piece } from "./gather.ts";
import { recogniseText } from "./recognise.ts";

const tablesOf = (name: string, bytes: Uint8Array, text: string | undefined): FoundTable[] => {
  try {
    return findTables(bytes, text);
  } catch (error) {
    throw error instanceof DumpError ? new SnapshotError(`${name}: ${error.message}.`) : error;
  }
};

/** Everything that a file's bytes turn out to be, archives aside; nothing known gives nothing. @throws SnapshotError when a dump is damaged */
export const piecesOfFile = (name: string, bytes: Uint8Array, ids?: IdsByName): Piece[] => {
  const text = isText(bytes) ? toText(bytes) : undefined;
  const recognised = text === undefined ? undefined : recogniseText(text, name, ids);
  // Hex dumps of configuration spaces are no tables; a text of lspci is not searched for them.
  const tables = recognised && recognised.hosts.length > 0 ? [] : tablesOf(name, bytes, text);
  return [...tables.map(({ signature, bytes: table }): Piece => ({ kind: "table", signature, bytes: table })), ...(recognised && (recognised.kinds.length > 0 || recognised.warnings.length > 0) ? [{ kind: "text", recognised } as const] : [])];
};

/** Files at the top that a person adds to a machine's files: the VM's XML, a log. */
const EXTRA = /\.(?:xml|txt|log|dsl|dat|aml)$|^(?:dmesg|cmdline|cpuinfo|lspci|DMAR|IVRS)/i;

/** A folder or an archive: a machine's files, and what lies beside them at the top. @throws SnapshotError when a dump is damaged */
export const piecesOfTree = (tree: FileTree, warnings: readonly string[], ids?: IdsByName): Piece[] => {
  const isMachine = hasSysfs(tree);
  const files = tree.list("").flatMap((name) => {
    const bytes = EXTRA.test(name) && !(isMachine && /lspci|dmesg/i.test(name)) ? tree.read(name) : undefined;
    return bytes && bytes.length > 0 ? piecesOfFile(name, bytes, ids) : [];
  });
  return isMachine ? [{ kind: "snapshot", snapshot: readSysfs(tree, warnings) }, ...files] : files;
};

/**
 * What bytes turn out to be, unpacked already: an archive of a machine's files, a text, ACPI tables. Nothing known gives nothing.
 * @throws SnapshotError when an archive or a dump is damaged
 */
export const piecesOfBytes = async (name: string, bytes: Uint8Array, ids?: IdsByName): Promise<Piece[]> => {
  if (!isTar(bytes)) return piecesOfFile(name, bytes, ids);
  const { tree, refused } = await readTar(name, bytes);
  return piecesOfTree(tree, refused.length > 0 ? [`${refused.length} entries of ${name} name places outside of it and were left out, the first: ${JSON.stringify(refused[0])}.`] : [], ids);
};
