import { writeFileSync } from "node:fs";
import { captureHost, hasSysfs, packTree } from "@iommu-lab/host";
import { CommandError, ExitCode } from "../exit-code.ts";
import { FolderTree } from "../input/folder-tree.ts";
import { liveTree } from "../input/live-host.ts";
import { printable } from "../output/printable.ts";
import { print, printJson } from "../output/style.ts";

/** Options of `iommu snapshot` as the parser gives them. */
export interface SnapshotOptions {
  readonly output: string | undefined;
  readonly root: string;
  readonly json: boolean;
}

/** `iommu snapshot`: writes what the host shows into one archive. */
export const runSnapshot = async ({ output, root, json }: SnapshotOptions): Promise<ExitCode> => {
  if (output === undefined) throw new CommandError(ExitCode.BadInput, "say where to write: iommu snapshot -o host.tar.gz");
  const tree = root === "/" ? liveTree() : new FolderTree(root, root);
  if (!hasSysfs(tree)) throw new CommandError(ExitCode.NotEnough, `${root} shows no PCI functions in sys/bus/pci/devices; there is nothing to capture.`);
  const progress = process.stderr.isTTY;
  const capture = captureHost(tree, (done, total) => {
    if (progress) process.stderr.write(`\rreading function ${done} of ${total}`);
  });
  if (progress) process.stderr.write("\r\u001b[K");
  const bytes = process.getBuiltinModule("node:zlib").gzipSync(await packTree(capture.tree));
  try {
    writeFileSync(output, bytes);
  } catch (error) {
    throw new CommandError(ExitCode.BadInput, `Cannot write ${output}: ${error instanceof Error ? error.message : String(error)}.`);
  }
  if (json) printJson({ output, bytes: bytes.length, functions: capture.functions, files: capture.tree.paths().length, redacted: capture.redacted, missing: capture.missing });
  else {
    print(`${printable(output)}: ${capture.functions} functions, ${capture.tree.paths().length} files, ${Math.ceil(bytes.length / 1024)} KiB; ${capture.redacted} serial numbers and MAC addresses blanked.`);
    for (const { what, consequence } of capture.missing) print(`not captured: ${what}; ${consequence}.`);
    if (capture.missing.length > 0 && process.getuid?.() !== 0) print("As root (sudo) the missing parts can be read.");
  }
  return ExitCode.Fine;
};
