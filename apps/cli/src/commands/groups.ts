import { reportGroups, type GroupsMode, type GroupsReport, type HostSnapshot } from "@iommu-lab/host";
import type { AcsOverride } from "@iommu-lab/pci-bus/groups";
import { parseCommandLine } from "@iommu-lab/host";
import { CommandError, ExitCode } from "../exit-code.ts";
import { openSource } from "../input/open-source.ts";
import { PciNames } from "../names/pci-ids.ts";
import { groupsJson } from "../output/groups-json.ts";
import { groupsText } from "../output/groups-text.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu groups` as the parser gives them. */
export interface GroupsOptions {
  readonly from: string | undefined;
  readonly computed: boolean;
  readonly recorded: boolean;
  readonly compare: boolean;
  readonly acsOverride: string | undefined;
  readonly json: boolean;
}

const modeOf = ({ computed, recorded, compare }: GroupsOptions): GroupsMode => {
  if ([computed, recorded, compare].filter(Boolean).length > 1) throw new CommandError(ExitCode.BadInput, "--computed, --recorded and --compare exclude each other; give one.");
  return computed ? "computed" : recorded ? "recorded" : compare ? "compare" : "auto";
};

const overrideOf = (text: string | undefined): AcsOverride | undefined => {
  if (text === undefined) return undefined;
  const override = parseCommandLine(`pcie_acs_override=${text}`).override;
  if (!override || !(override.downstream || override.multifunction || override.ids.length > 0)) throw new CommandError(ExitCode.BadInput, `--acs-override takes downstream, multifunction and id:vvvv:dddd, with commas between; "${text}" has none of them.`);
  return override;
};

/** What the report says to scripts: a difference is a finding, an unanswered question not enough data. */
const exitCodeOf = (report: GroupsReport): ExitCode => {
  if (report.mode === "compare" && (report.differences?.some(({ unknown }) => unknown.length === 0) ?? false)) return ExitCode.Finding;
  if (report.unknown.length > 0 || (report.mode === "compare" && (report.differences?.length ?? 0) > 0)) return ExitCode.NotEnough;
  return ExitCode.Fine;
};

const reportOne = (snapshot: HostSnapshot, mode: GroupsMode, override: AcsOverride | undefined): GroupsReport => {
  if ((mode === "recorded" || mode === "compare") && !snapshot.groups)
    throw new CommandError(ExitCode.NotEnough, `${snapshot.origin} shows no IOMMU groups of its kernel (the IOMMU was off, or they were not captured). Use --computed.`);
  return reportGroups(snapshot, mode, { override });
};

/** `iommu groups`: the partition, its devices, and why they are together. */
export const runGroups = async (options: GroupsOptions): Promise<ExitCode> => {
  const mode = modeOf(options);
  const override = overrideOf(options.acsOverride);
  const names = PciNames.load();
  const snapshots = await openSource(options.from, () => names);
  if (snapshots.length > 1) warn(`${options.from ?? "The input"} holds ${snapshots.length} hosts (addresses repeat); each is shown by itself.`);
  const reports = snapshots.map((snapshot) => ({ snapshot, report: reportOne(snapshot, mode, override) }));
  for (const { snapshot } of reports) for (const text of snapshot.warnings) warn(text);
  if (options.json) {
    const values = reports.map(({ snapshot, report }) => groupsJson(report, snapshot, names));
    printJson(values.length === 1 ? values[0] : { hosts: values });
  } else print(reports.map(({ snapshot, report }) => groupsText(report, snapshot, names)).join("\n\n"));
  const codes = reports.map(({ report }) => exitCodeOf(report));
  return codes.includes(ExitCode.Finding) ? ExitCode.Finding : codes.includes(ExitCode.NotEnough) ? ExitCode.NotEnough : ExitCode.Fine;
};
