import { compareAddresses, parseAddress } from "@iommu-lab/pci-bus";
import type { HostSnapshot } from "@iommu-lab/host";
import { CommandError, ExitCode } from "../exit-code.ts";
import { openSource } from "../input/open-source.ts";
import { PciNames } from "../names/pci-ids.ts";
import { pciFunctionJson, pciFunctionText } from "../output/pci-function.ts";
import { pciTree, pciTreeJson } from "../output/pci-tree.ts";
import { printable } from "../output/printable.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu pci` as the parser gives them. */
export interface PciOptions {
  readonly from: string | undefined;
  readonly json: boolean;
}

const show = (snapshots: readonly HostSnapshot[], json: boolean, asJson: (snapshot: HostSnapshot) => object, asText: (snapshot: HostSnapshot) => string): void => {
  if (!json) {
    print(snapshots.map((snapshot) => (snapshots.length > 1 ? `${printable(snapshot.origin)}\n` : "") + asText(snapshot)).join("\n\n"));
    return;
  }
  const values = snapshots.map(asJson);
  printJson(values.length === 1 ? values[0] : { hosts: values });
};

/** `iommu pci`: the tree, or one function. */
export const runPci = async (address: string | undefined, options: PciOptions): Promise<ExitCode> => {
  const wanted = address === undefined ? undefined : parseAddress(address);
  if (address !== undefined && !wanted) throw new CommandError(ExitCode.BadInput, `"${address}" is no PCI address; write it as 0000:01:00.0 or 01:00.0.`);
  const names = PciNames.load();
  const snapshots = await openSource(options.from, () => names);
  if (snapshots.length > 1) warn(`${options.from ?? "The input"} holds ${snapshots.length} hosts (addresses repeat); each is shown by itself.`);
  for (const snapshot of snapshots) for (const text of snapshot.warnings) warn(text);
  const { json } = options;
  if (!wanted) {
    show(snapshots, json, (snapshot) => pciTreeJson(snapshot, names), (snapshot) => pciTree(snapshot, names));
    return ExitCode.Fine;
  }
  const found = snapshots.flatMap((snapshot) => snapshot.functions.filter((f) => compareAddresses(f.address, wanted) === 0).slice(0, 1));
  if (found.length === 0) throw new CommandError(ExitCode.BadInput, `${address ?? ""} is not among the ${snapshots[0]?.functions.length ?? 0} functions of ${snapshots[0]?.origin ?? "the input"}; iommu pci lists them.`);
  if (json) {
    const values = found.map((f) => pciFunctionJson(f, names));
    printJson(values.length === 1 ? values[0] : { hosts: values });
  } else print(found.map((f) => pciFunctionText(f, names)).join("\n\n"));
  return found.every((f) => f.config !== undefined) ? ExitCode.Fine : ExitCode.NotEnough;
};
