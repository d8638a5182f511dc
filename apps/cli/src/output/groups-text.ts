import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { GroupsReport, HostFunction, HostSnapshot, ReportedGroup } from "@iommu-lab/host";
import { describeFunction } from "../names/describe.ts";
import type { PciNames } from "../names/pci-ids.ts";
import { printable } from "./printable.ts";
import { style } from "./style.ts";

const HEADINGS = {
  recorded: "as the kernel made them",
  computed: "computed: as this host's kernel makes them with the IOMMU on",
  compare: "as the kernel made them, compared with the computation",
} as const;

/** Most sentences shown for one group; a switch's group may have dozens of the same kind. */
const MOST_REASONS = 8;

const groupLines = (group: ReportedGroup, line: (address: FunctionAddress) => string): string[] => {
  const lines = [style("bold", group.id === null ? "Group" : `Group ${group.id}`) + (group.type === undefined ? "" : style("dim", ` (${printable(group.type)})`)), ...group.devices.map(line), ...group.others.map((other) => `  ${printable(other)}`)];
  const sentences = [...new Set(group.reasons.map(({ text }) => text))];
  if (sentences.length > 0) lines.push(style("dim", "    why together:"));
  for (const sentence of sentences.slice(0, MOST_REASONS)) lines.push(style("dim", `    - ${sentence}`));
  if (sentences.length > MOST_REASONS) lines.push(style("dim", `    - and ${sentences.length - MOST_REASONS} more (--json shows all)`));
  return lines;
};

const differenceLines = (report: GroupsReport): string[] => {
  if (!report.differences) return [];
  if (report.differences.length === 0) return [style("green", `The kernel's partition (${report.groups.length}) and the computed one are the same.`)];
  const sets = (groups: readonly (readonly FunctionAddress[])[]): string => groups.map((group) => `{ ${group.map(formatAddress).join(" ")} }`).join("  ") || "none";
  return [
    style("red", `${report.differences.length} ${report.differences.length === 1 ? "difference" : "differences"}:`),
    ...report.differences.flatMap(({ recorded, computed, unknown }) => [`  kernel:   ${sets(recorded)}`, `  computed: ${sets(computed)}`, ...(unknown.length > 0 ? [`  cannot be seen: ${unknown.map(formatAddress).join(" ")}`] : [])]),
  ];
};

/** A groups report for people. */
export const groupsText = (report: GroupsReport, snapshot: HostSnapshot, names: PciNames): string => {
  const byAddress = new Map(snapshot.functions.map((f) => [formatAddress(f.address), f]));
  const line = (address: FunctionAddress): string => {
    const f: HostFunction | undefined = byAddress.get(formatAddress(address));
    return `  ${style("cyan", formatAddress(address))} ${f ? printable(describeFunction(f, names)) : ""}${f?.driver === undefined ? "" : style("dim", `  (${printable(f.driver)})`)}`;
  };
  const heading = `${printable(report.origin)}${report.kernelRelease === undefined ? "" : `, Linux ${printable(report.kernelRelease)}`}: ${report.groups.length} IOMMU ${report.groups.length === 1 ? "group" : "groups"}, ${HEADINGS[report.mode]}${report.mode === "computed" && report.acs === "predicted" ? " (ACS control predicted)" : ""}`;
  const lines = [style("bold", heading), ""];
  for (const group of report.groups) lines.push(...groupLines(group, line));
  if (report.ungrouped.length > 0) lines.push("", style("bold", "In no group (no IOMMU translates them)"), ...report.ungrouped.map(line));
  if (report.unknown.length > 0) {
    lines.push("", style("bold", "Cannot be seen from this input"));
    for (const { address, text } of report.unknown) lines.push(line(address), style("dim", `    - ${text}`));
  }
  if (report.unsafe) lines.push("", style("red", "Unsafe: pcie_acs_override splits groups that the hardware does not isolate; devices in different groups may still reach each other's memory."));
  lines.push(...differenceLines(report).flatMap((text, i) => (i === 0 ? ["", text] : [text])));
  if (report.notes.length + snapshot.missing.length > 0) lines.push("");
  for (const note of report.notes) lines.push(style("dim", `note: ${printable(note)}`));
  for (const { what, consequence } of snapshot.missing) lines.push(style("dim", `not in this input: ${what}; ${consequence}.`));
  return lines.join("\n");
};
