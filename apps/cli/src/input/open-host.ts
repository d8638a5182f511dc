import { SnapshotError, type IdsByName } from "@iommu-lab/host";
import { gatherHost, piecesOfBytes, piecesOfTree, type Gathered, type Piece } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";
import { openPath, openSource, unpack } from "./open-source.ts";

/** What `iommu doctor` takes, for messages. */
const PIECES = "a snapshot, a folder, or any of: lspci, dmesg, /proc/cmdline, /proc/cpuinfo, listings of IOMMU groups, DMAR or IVRS (raw or acpidump), libvirt XML, a QEMU command line; - for standard input";

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const piecesOf = async (from: string, ids: IdsByName): Promise<Piece[]> => {
  const opened = await openPath(from);
  try {
    if (opened.kind === "folder") return piecesOfTree(opened.tree, [], ids);
    if (opened.bytes.length === 0) throw bad(`${opened.name} is empty. Give ${PIECES}.`);
    return await piecesOfBytes(opened.name, unpack(opened.name, opened.bytes), ids);
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
